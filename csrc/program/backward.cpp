// The way back: all input gradients first, with the weights of before the update; then all weight gradients. In fused
// plans the decision to update comes between the two.
#include "program/builder.hpp"

namespace thalweg {

void Builder::backward() {
  if (spec().backward) {
    activate_backward(last_value());
    for (int l = layers() - 1; l >= 0; --l)
      if (graph_.wanted[l + 1]) through(l);
    if (spec().fused) commit();
    for (int l = layers() - 1; l >= 0; --l)
      if (layer(l).kind == LayerKind::dense && trains(layer(l))) l == 0 && in_block() ? keep_step() : weight_gradient(l);
  }
  set_mark(differentiated);
  if (!spec().fused && spec().loss != Loss::none) commit();
  set_mark(committed);
}

// The gradient of the model's outputs comes from the loss, or from the user; nobody has multiplied it on the way.
void Builder::activate_backward(int value) {
  if (saved_[value] == none) return;
  Step& step = add_step(Kind::pass_gradient, batch_rows,
                        {{saved_[value], batch_rows, false}, {gradient_[value], batch_rows, true}},
                        4.0 * rows() * graph_.width[value]);
  step.input = gradient_[value];
  step.output = gradient_[value];
  step.saved = saved_[value];
  step.activation = layer(value - 1).activation;
}

// Every reader of a value adds its gradient to what the readers before it sent; the last multiplies by the derivative of
// the activation that made the value.
void Builder::into_sink(Step& step, int value) {
  step.output = gradient_[value];
  step.add = sent_[value]++ > 0;
  step.accesses.push_back({gradient_[value], step.owner, true});
  if (sent_[value] < graph_.readers[value] || saved_[value] == none) return;
  step.saved = saved_[value];
  step.activation = layer(value - 1).activation;
  step.accesses.push_back({saved_[value], step.owner, false});
}

void Builder::pass(int from, int to) {
  const Space owner = owner_[to];
  Step& step = add_step(Kind::pass_gradient, owner, {{gradient_[from], owner, false}},
                        4.0 * rows() * graph_.width[to]);
  step.input = gradient_[from];
  into_sink(step, to);
}

void Builder::softmax_gradient(int l) {
  Step& step = add_step(Kind::softmax_gradient, batch_rows,
                        {{value_[l + 1], batch_rows, false}, {gradient_[l + 1], batch_rows, true}},
                        8.0 * rows() * graph_.width[l + 1]);
  step.other = value_[l + 1];
  step.input = gradient_[l + 1];
  step.output = gradient_[l + 1];
}

// On its way into the sink of what is below, the gradient meets the derivative of the activation below.
void Builder::dense_input_gradient(int l) {
  const int p = graph_.parameter[l], in = layer(l).input;
  const Space owner = owner_[in];
  Step& step = add_step(Kind::input_gradient, owner,
                        {{gradient_[l + 1], needed(owner), false},
                         {weight_[p], part_of_parameter(owner), false},
                         {scratch_, every_thread, true}},
                        product_flops(l));
  step.input = gradient_[l + 1];
  step.parameter = p;
  into_sink(step, in);
}

void Builder::dropout_gradient(int l) {
  const Space owner = owner_[layer(l).input];
  Step& step = add_step(Kind::dropout_gradient, owner, {{gradient_[l + 1], owner, false}},
                        20.0 * rows() * graph_.width[l + 1]);
  step.input = gradient_[l + 1];
  step.layer = l;
  into_sink(step, layer(l).input);
}

void Builder::layer_norm_gradients(int l) {
  const int p = graph_.parameter[l], in = layer(l).input;
  const double flops = 10.0 * rows() * graph_.width[l + 1];
  const auto set = [&](Step& step) {
    step.input = gradient_[l + 1];
    step.other = value_[in];
    step.parameter = p;
    step.norm = norm_[l];
  };
  const auto accesses = [&](Space space) {
    return std::vector<Access>{{gradient_[l + 1], space, false},
                               {value_[in], space, false},
                               {norm_[l].mean, needed(space), false},
                               {norm_[l].scale, needed(space), false}};
  };
  if (trains(layer(l))) {
    Step& step = add_step(Kind::layer_norm_weight_gradient, units_of(l + 1), accesses(units_of(l + 1)), flops);
    step.accesses.push_back({weight_gradient_[p], units_of(l + 1), true});
    set(step);
  }
  if (!graph_.wanted[in]) return;
  Step& step = add_step(Kind::layer_norm_input_gradient, batch_rows, accesses(batch_rows), flops);
  step.accesses.push_back({weight_[p], whole, false});
  set(step);
  into_sink(step, in);
}

void Builder::batch_norm_gradient(int l) {
  const int p = graph_.parameter[l], in = layer(l).input;
  const Space owner = units_of(l + 1);
  Step& step = add_step(Kind::batch_norm_gradient, owner,
                        {{gradient_[l + 1], owner, false},
                         {value_[in], owner, false},
                         {weight_[p], owner, false},
                         {norm_[l].mean, owner, false},
                         {norm_[l].scale, owner, false}},
                        20.0 * rows() * graph_.width[l + 1]);
  if (trains(layer(l))) step.accesses.push_back({weight_gradient_[p], owner, true});
  step.layer = l;
  step.input = gradient_[l + 1];
  step.other = value_[in];
  step.parameter = p;
  step.norm = norm_[l];
  if (graph_.wanted[in]) into_sink(step, in);
}

// In chunks it stands for take_chunks as well, which adds what a thread has made to the gradients.
void Builder::weight_gradient(int l) {
  const int p = graph_.parameter[l], in = layer(l).input;
  const bool columns = by_columns(l);
  const Space owner = in_chunks() ? batch_rows : owner_of_weights(l);
  Step& step = add_step(Kind::weight_gradient, owner,
                        {{value_[in], columns ? whole : owner, false},
                         {gradient_[l + 1], columns || owner == batch_rows ? owner : whole, false},
                         {spec().fused ? weight_[p] : weight_gradient_[p], owner, true},
                         {scratch_, every_thread, true}},
                        product_flops(l));
  step.input = gradient_[l + 1];
  step.other = value_[in];
  step.parameter = p;
  step.by_columns = columns;
}

void Builder::commit() {
  const Space owner = steps_by_one() ? batch_rows : every_thread;
  std::vector<Access> accesses = {{loss_, steps_by_one() ? batch_rows : whole, false}};
  if (!spec().fused && spec().backward)  // a thread told to stop left its gradients undone: all must know before
    for (int gradient : weight_gradient_) accesses.push_back({gradient, whole, false});
  Step& step = add_step(Kind::commit, owner, std::move(accesses), 0);
  step.input = loss_;
}

}  // namespace thalweg
