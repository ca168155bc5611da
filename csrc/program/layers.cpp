// What each kind of layer does, forward and back, in steps that builder.cpp and backward.cpp know how to make.
#include "program/builder.hpp"

namespace thalweg {

void Builder::forward(int l) {
  const Space owner = owner_[l + 1];
  switch (layer(l).kind) {
    case LayerKind::dense: return l == 0 && in_block() ? block_forward() : dense_forward(l);
    case LayerKind::activation: add_layer_step(Kind::activate, l, owner, {}, 20); return;
    case LayerKind::dropout: add_layer_step(spec().backward ? Kind::dropout : Kind::activate, l, owner, {}, 20); return;
    case LayerKind::add: {
      const int other = value_[layer(l).other];
      add_layer_step(Kind::add, l, owner, {{other, owner, false}}, 4).other = other;
      return;
    }
    case LayerKind::layer_norm:
    case LayerKind::batch_norm: return norm_forward(l);
  }
}

// From the gradient of layer l's output, which is that of its activation's input, to those of what it reads.
void Builder::through(int l) {
  const int in = layer(l).input;
  switch (layer(l).kind) {
    case LayerKind::dense:
      if (graph_.wanted[in]) dense_input_gradient(l);
      return;
    case LayerKind::activation:
      if (layer(l).activation == Activation::softmax) softmax_gradient(l);
      if (graph_.wanted[in]) pass(l + 1, in);
      return;
    case LayerKind::dropout:
      if (graph_.wanted[in]) dropout_gradient(l);
      return;
    case LayerKind::add:
      if (graph_.wanted[in]) pass(l + 1, in);
      if (graph_.wanted[layer(l).other]) pass(l + 1, layer(l).other);
      return;
    case LayerKind::layer_norm: return layer_norm_gradients(l);
    case LayerKind::batch_norm: return batch_norm_gradient(l);
  }
}

}  // namespace thalweg
