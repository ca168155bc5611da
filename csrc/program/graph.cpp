#include "program/graph.hpp"

namespace thalweg {

Graph::Graph(const Spec& spec) : width{spec.inputs}, wanted{spec.input_gradient}, only_dense_reads_input(true) {
  readers.resize(spec.layers.size() + 1);
  int parameters = 0, norms = spec.standardize;
  for (const LayerSpec& layer : spec.layers) {
    width.push_back(layer.units);
    parameter.push_back(has_parameter(layer.kind) ? parameters++ : none);
    statistics.push_back(layer.kind == LayerKind::batch_norm ? norms++ : none);
    wanted.push_back(trains(layer) || wanted[layer.input] || (layer.other != none && wanted[layer.other]));
    ++readers[layer.input];
    if (layer.other != none) ++readers[layer.other];
    if (layer.kind != LayerKind::dense && (layer.input == 0 || layer.other == 0)) only_dense_reads_input = false;
  }
}

// ---- where parameters and statistics lie --------------------------------------------------------------------------

Index leading_dimension(Index columns, DType dtype) {
  const Index ld = (columns + padding - 1) / padding * padding, bytes = ld * size_of(dtype);
  if (bytes % 4096 == 0) return ld + 7 * padding;
  return bytes % 2048 == 0 ? ld + padding : ld;
}

std::vector<ParameterPlan> plan_parameters(const Spec& spec) {
  if (spec.flat > 0) return {{0, 1, spec.flat, spec.flat, false, none}};
  std::vector<ParameterPlan> parameters;
  std::vector<Index> width{spec.inputs};
  Index offset = 0;
  for (size_t l = 0; l < spec.layers.size(); ++l) {
    const LayerSpec& layer = spec.layers[l];
    width.push_back(layer.units);
    if (!has_parameter(layer.kind)) continue;
    const bool dense = layer.kind == LayerKind::dense;
    parameters.push_back({offset, dense ? width[layer.input] : 1, layer.units,
                          leading_dimension(layer.units, spec.dtype), layer.bias || !dense, static_cast<int>(l)});
    offset += parameters.back().rows() * parameters.back().ld;
  }
  return parameters;
}

Index parameter_elements(const std::vector<ParameterPlan>& parameters) {
  return parameters.empty() ? 0 : parameters.back().offset + parameters.back().rows() * parameters.back().ld;
}

std::vector<StatisticsPlan> plan_statistics(const Spec& spec) {
  std::vector<StatisticsPlan> all;
  const auto append = [&](Index units, int layer) {
    const Index offset = all.empty() ? 0 : all.back().offset + 2 * all.back().ld;
    all.push_back({offset, units, (units + padding - 1) / padding * padding, layer});
  };
  if (spec.standardize) append(spec.inputs, none);
  for (size_t l = 0; l < spec.layers.size(); ++l)
    if (spec.layers[l].kind == LayerKind::batch_norm) append(spec.layers[l].units, static_cast<int>(l));
  return all;
}

}  // namespace thalweg
