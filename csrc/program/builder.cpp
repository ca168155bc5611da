// The steps of a job in the order in which they run: forward, loss, all input gradients, all weight gradients, updates.
#include "program/builder.hpp"

#include <algorithm>

namespace thalweg {

namespace {

Index size_of(DType dtype) { return dtype == DType::f32 ? 4 : 8; }
Index round_up(Index n, Index unit) { return (n + unit - 1) / unit * unit; }

class Builder {
 public:
  Builder(const Spec& spec, const Schedule& schedule) : schedule_(schedule) {
    plan_.spec = spec;
    plan_.threads = schedule.threads;
    plan_.schedule = schedule.name;
    plan_.parameters = plan_parameters(spec);
  }

  Plan build() {
    if (plan_.spec.flat > 0) {
      flat_update();
    } else {
      buffers();
      forward();
      loss();
      backward();
      update();
    }
    place_barriers();
    place_buffers();
    return std::move(plan_);
  }

 private:
  const Spec& spec() const { return plan_.spec; }
  int layers() const { return static_cast<int>(spec().layers.size()); }
  Index width(int activation) const { return activation == 0 ? spec().inputs : spec().layers[activation - 1].units; }
  bool by_columns(int layer) const { return schedule_.by_columns[layer]; }

  // Who makes the values of an activation and its gradient: the input's are made by the rows, or by every thread.
  Space owner_of(int activation) const {
    if (activation == 0) return batch_rows;
    return by_columns(activation - 1) ? units_of(activation) : batch_rows;
  }

  int add_matrix(const std::string& name, Index rows, Index columns, bool per_thread = false) {
    plan_.buffers.push_back({name, rows, columns, leading_dimension(columns, spec().dtype), per_thread, true, 0});
    return static_cast<int>(plan_.buffers.size()) - 1;
  }
  // One number a row, without pads.
  int add_column(const std::string& name, Index rows, bool per_thread = false) {
    plan_.buffers.push_back({name, rows, 1, 1, per_thread, true, 0});
    return static_cast<int>(plan_.buffers.size()) - 1;
  }
  int add_outside(const std::string& name, Index rows, Index columns) {
    plan_.buffers.push_back({name, rows, columns, columns, false, false, 0});
    return static_cast<int>(plan_.buffers.size()) - 1;
  }

  void buffers() {
    const Index batch = spec().batch;
    for (int a = 0; a <= layers(); ++a) {
      plan_.extents.resize(units_of(a) + 1);
      plan_.extents[units_of(a)] = width(a);
      const std::string number = std::to_string(a);
      value_.push_back(add_matrix(a == 0 ? "x" : "y" + number, batch, width(a), a == 0 && private_input()));
      const bool has_gradient = a > 0 || spec().input_gradient || layers() == 0;
      const bool wanted = spec().backward || (a == layers() && spec().loss != Loss::none);
      gradient_.push_back(has_gradient && wanted ? add_matrix(a == 0 ? "dx" : "dy" + number, batch, width(a)) : none);
    }
    plan_.extents[batch_rows] = batch;
    if (spec().loss != Loss::none) loss_buffers(batch);
    for (const ParameterPlan& p : plan_.parameters) {
      const std::string number = std::to_string(weight_.size() + 1);
      weight_.push_back(add_outside("w" + number, p.rows(), p.ld));
      weight_gradient_.push_back(add_outside("dw" + number, p.rows(), p.ld));
    }
    scratch_ = add_matrix("scratch", 1, scratch_elements(), true);
  }

  void loss_buffers(Index batch) {
    const bool labels = spec().targets == Targets::labels;
    targets_ = labels ? add_column("labels", batch) : add_matrix("targets", batch, width(layers()));
    loss_ = add_column("loss", batch);
    fault_ = layers() > 0 && spec().layers[0].dense ? add_column("fault", batch) : none;
    row_weight_ = spec().weighted ? add_column("weight", batch, true) : none;
  }

  bool private_input() const { return layers() > 0 && by_columns(0) && !spec().in_place; }

  Index scratch_elements() const {
    Index most = 1;
    for (const ParameterPlan& p : plan_.parameters) {
      most = std::max(most, input_gradient_scratch(p.outputs));
      most = std::max(most, weight_gradient_scratch(p.inputs, spec().batch));
    }
    return spec().backward ? most : 1;
  }

  Step& add_step(Kind kind, Space owner, std::vector<Access> accesses, double flops) {
    Step step{};
    step.kind = kind;
    step.owner = owner;
    step.accesses = std::move(accesses);
    step.flops = flops;
    plan_.steps.push_back(std::move(step));
    return plan_.steps.back();
  }
  void set_mark(Mark mark) { plan_.marks[mark] = static_cast<int>(plan_.steps.size()); }

  // What a reader needs of an activation: its own rows if it works by rows, else all of it.
  static Space needed(Space owner) { return owner == batch_rows ? batch_rows : whole; }

  void forward() {
    set_mark(begin);
    if (!spec().in_place) {
      const Space owner = private_input() ? every_thread : batch_rows;
      Step& gather = add_step(Kind::gather, owner, {{value_[0], owner, true}}, 10.0 * spec().batch * spec().inputs);
      gather.output = value_[0];
    }
    for (int l = 0, p = 0; l < layers(); ++l) {
      if (spec().layers[l].dense) dense_forward(l, p++);
      else activate(l);
    }
    set_mark(forwarded);
  }

  void dense_forward(int l, int p) {
    const Space owner = owner_of(l + 1), part = owner == batch_rows ? whole : owner;
    std::vector<Access> accesses = {
        {value_[l], needed(owner), false}, {weight_[p], part, false}, {value_[l + 1], owner, true}};
    if (l == 0 && fault_ != none) accesses.push_back({fault_, owner, true});
    Step& step = add_step(Kind::dense_forward, owner, std::move(accesses), product_flops(p));
    step.input = value_[l];
    step.output = value_[l + 1];
    step.other = l == 0 ? fault_ : none;
    step.parameter = p;
    step.activation = spec().layers[l].activation;
  }

  void activate(int l) {
    Step& step = add_step(Kind::activate, batch_rows,
                          {{value_[l], batch_rows, false}, {value_[l + 1], batch_rows, true}},
                          20.0 * spec().batch * width(l));
    step.input = value_[l];
    step.output = value_[l + 1];
    step.activation = spec().layers[l].activation;
  }

  double product_flops(int p) const {
    return 2.0 * spec().batch * plan_.parameters[p].inputs * plan_.parameters[p].outputs;
  }

  void loss() {
    if (spec().loss != Loss::none) {
      if (spec().weighted) {
        Step& weights = add_step(Kind::gather_weights, every_thread, {{row_weight_, every_thread, true}}, 0);
        weights.output = row_weight_;
      }
      const Kind kind = spec().targets == Targets::labels ? Kind::gather_labels : Kind::gather;
      Step& targets = add_step(kind, batch_rows, {{targets_, batch_rows, true}}, 0);
      targets.output = targets_;
      targets.other = value_.back();
      std::vector<Access> accesses = {{value_.back(), batch_rows, false},
                                      {targets_, batch_rows, false},
                                      {gradient_.back(), batch_rows, true},
                                      {loss_, batch_rows, true}};
      if (fault_ != none) accesses.push_back({fault_, batch_rows, false});
      Step& loss = add_step(Kind::row_loss, batch_rows, std::move(accesses), 30.0 * spec().batch * width(layers()));
      loss.input = value_.back();
      loss.other = targets_;
      loss.output = gradient_.back();
    }
    set_mark(measured);
  }

  // All input gradients first, with the weights of before the update; then all weight gradients. In fused plans the
  // decision to update comes between the two.
  void backward() {
    if (spec().backward) {
      for (int l = layers() - 1; l >= 0; --l) through_activation(l);
      if (spec().fused) commit();
      for (int l = layers() - 1, p = parameters() - 1; l >= 0; --l)
        if (spec().layers[l].dense) weight_gradient(l, p--);
    }
    set_mark(differentiated);
    if (!spec().fused && spec().loss != Loss::none) commit();
    set_mark(committed);
  }

  int parameters() const { return static_cast<int>(plan_.parameters.size()); }

  int parameter_of(int layer) const {
    int p = 0;
    for (int l = 0; l < layer; ++l) p += spec().layers[l].dense;
    return p;
  }

  // From the gradient of layer l's output to that of its input. A dense layer's input gradient multiplies by the
  // derivative of the activation below on the way, so that only the last activation needs a step of its own.
  void through_activation(int l) {
    const LayerSpec& layer = spec().layers[l];
    const bool last = l == layers() - 1, lowest = gradient_[l] == none;
    if (last && layer.activation != Activation::identity) activation_gradient(l);
    if (!lowest && layer.dense) input_gradient(l);
  }

  void activation_gradient(int l) {
    Step& step = add_step(Kind::activate_backward, batch_rows,
                          {{value_[l + 1], batch_rows, false}, {gradient_[l + 1], batch_rows, true}},
                          4.0 * spec().batch * width(l + 1));
    step.input = value_[l + 1];
    step.output = gradient_[l + 1];
    step.activation = spec().layers[l].activation;
  }

  void input_gradient(int l) {
    const int p = parameter_of(l);
    const Space owner = owner_of(l), part = owner == batch_rows ? whole : owner;
    std::vector<Access> accesses = {{gradient_[l + 1], needed(owner), false},
                                    {weight_[p], part, false},
                                    {gradient_[l], owner, true},
                                    {scratch_, every_thread, true}};
    if (l > 0) accesses.push_back({value_[l], owner, false});
    Step& step = add_step(Kind::input_gradient, owner, std::move(accesses), product_flops(p));
    step.input = gradient_[l + 1];
    step.other = l > 0 ? value_[l] : none;
    step.output = gradient_[l];
    step.parameter = p;
    step.activation = l > 0 ? spec().layers[l - 1].activation : Activation::identity;
  }

  // dW is owned as the forward product owned W: by its columns, or else by its rows (the units below).
  void weight_gradient(int l, int p) {
    const bool columns = by_columns(l);
    const Space owner = columns ? units_of(l + 1) : units_of(l);
    const Space of_x = private_input() && l == 0 ? every_thread : columns ? whole : owner;
    Step& step = add_step(Kind::weight_gradient, owner,
                          {{value_[l], of_x, false},
                           {gradient_[l + 1], columns ? owner : whole, false},
                           {spec().fused ? weight_[p] : weight_gradient_[p], owner, true},
                           {scratch_, every_thread, true}},
                          product_flops(p));
    step.input = gradient_[l + 1];
    step.other = value_[l];
    step.parameter = p;
    step.by_columns = columns;
  }

  void commit() {
    std::vector<Access> accesses = {{loss_, whole, false}};
    if (!spec().fused && spec().backward)  // a thread told to stop left its gradients undone: all must know before
      for (int gradient : weight_gradient_) accesses.push_back({gradient, whole, false});
    Step& step = add_step(Kind::commit, every_thread, std::move(accesses), 0);
    step.input = loss_;
  }

  void update() {
    if (spec().rule != Rule::none && !spec().fused)
      for (int l = layers() - 1, p = parameters() - 1; l >= 0; --l)
        if (spec().layers[l].dense) {
          const Space owner = by_columns(l) ? units_of(l + 1) : units_of(l);
          Step& step = add_step(Kind::update, owner,
                                {{weight_gradient_[p], owner, false}, {weight_[p], owner, true}},
                                10.0 * plan_.parameters[p].rows() * plan_.parameters[p].ld);
          step.by_columns = by_columns(l);
          step.parameter = p--;
        }
    set_mark(updated);
  }

  void flat_update() {
    plan_.extents = {0, spec().flat};
    const int weight = add_outside("w1", 1, spec().flat), gradient = add_outside("dw1", 1, spec().flat);
    Step& step = add_step(Kind::update, units_of(0), {{gradient, units_of(0), false}, {weight, units_of(0), true}},
                          10.0 * spec().flat);
    step.parameter = 0;
    step.by_columns = true;
    set_mark(updated);
  }

  // Two threads may meet in a buffer unless both keep to their own part of one space.
  bool conflict(const Access& a, const Access& b) const {
    if (a.buffer != b.buffer || plan_.buffers[a.buffer].per_thread || !(a.write || b.write)) return false;
    return a.space != b.space || a.space == whole;
  }

  bool any_conflict(const std::vector<Access>& before, const std::vector<Access>& now) const {
    for (const Access& a : before)
      for (const Access& b : now)
        if (conflict(a, b)) return true;
    return false;
  }

  // Walks the steps round and round, as training does, until no walk asks for another barrier.
  void place_barriers() {
    if (plan_.threads == 1) return;
    std::vector<Access> since;  // all accesses since the last barrier
    for (bool changed = true; changed;) {
      changed = false;
      for (Step& step : plan_.steps) {
        if (!step.barrier && any_conflict(since, step.accesses)) changed = step.barrier = true;
        if (step.barrier) since.clear();
        since.insert(since.end(), step.accesses.begin(), step.accesses.end());
      }
    }
  }

  void place_buffers() {
    const Index size = size_of(spec().dtype);
    for (Buffer& buffer : plan_.buffers) {
      if (!buffer.in_arena) continue;
      if (&buffer == &plan_.buffers[value_[0]] && spec().in_place) continue;
      Index& end = buffer.per_thread ? plan_.thread_bytes : plan_.shared_bytes;
      buffer.offset = end;
      end = round_up(end + buffer.rows * buffer.ld * size, 128);
    }
    plan_.thread_bytes = round_up(plan_.thread_bytes, 4096);
    plan_.shared_bytes = round_up(plan_.shared_bytes, 4096);
    for (Buffer& buffer : plan_.buffers)
      if (buffer.per_thread) buffer.offset += plan_.shared_bytes;
  }

  Plan plan_;
  const Schedule& schedule_;
  std::vector<int> value_, gradient_, weight_, weight_gradient_;  // buffers by activation, by parameter
  int targets_ = none, loss_ = none, fault_ = none, row_weight_ = none, scratch_ = none;
};

}  // namespace

Plan build_plan(const Spec& spec, const Schedule& schedule) { return Builder(spec, schedule).build(); }

}  // namespace thalweg
