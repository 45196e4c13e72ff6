#include "cpu/overlap/groups.h"

#include "api/reduction.h"

namespace fastloss {

template <class T>
void LossDerivatives<T>::spread(const OverlapLayout& layout, int64_t segment, T* by_intersection,
                                T* by_prediction) const {
  for (int64_t i = 0; i < layout.period; ++i) {
    const int64_t column = layout.interleaved ? i / kRowLanes : i % layout.columns;
    const OverlapDerivatives& of_class = by_sums[layout.table_index(segment, column)];
    by_intersection[i] = T(of_class.by_intersection);
    by_prediction[i] = T(of_class.by_prediction);
  }
}

template <class T>
GroupLosses<T>::GroupLosses(const OverlapPlan<T>& plan, const TensorSums& sums)
    : plan_(plan),
      loss_(*find_loss(kOverlapLosses, plan.call.loss)),
      first_class_(std::min<int64_t>(plan.call.skip_background, plan.call.classes)),
      sums_(sums),
      weight_(weights_of<T>(plan.call)) {
  const fastloss_overlap& call = plan.call;
  values_.resize(plan.layout.images * groups_per_image());
  of_classes_.resize(sums_.table.size());
  for (int64_t image = 0; image < plan.layout.images; ++image) {
    const OverlapSums* const table = sums_.table.data() + image * plan.layout.classes;
    GroupLoss* const of_classes = of_classes_.data() + image * plan.layout.classes;
    double* const values = values_.data() + image * groups_per_image();
    if (loss_.together)
      evaluate_together(table, of_classes, values);
    else if (call.per_class)
      evaluate_each_class(table, of_classes, values);
    else
      evaluate_all_classes(table, of_classes, values);
  }
}

template <class T>
int64_t GroupLosses<T>::groups_per_image() const {
  return plan_.call.per_class ? plan_.call.classes - first_class_ : 1;
}

template <class T>
void GroupLosses<T>::evaluate_together(const OverlapSums* sums, GroupLoss* of_classes,
                                       double* value) const {
  const int64_t classes = plan_.layout.classes;
  const T* const given = static_cast<const T*>(plan_.call.class_weight);
  const std::vector<double> class_weight(given, given ? given + classes : given);
  std::vector<double> factors(classes);
  const GroupLoss loss = loss_.together(plan_.call.parameters, sums + first_class_,
                                        given ? class_weight.data() + first_class_ : nullptr,
                                        classes - first_class_, factors.data() + first_class_);
  *value = loss.value;
  for (int64_t c = first_class_; c < classes; ++c)
    of_classes[c] = {loss.value, factors[c] * loss.d_intersection, factors[c] * loss.d_prediction};
}

template <class T>
void GroupLosses<T>::evaluate_each_class(const OverlapSums* sums, GroupLoss* of_classes,
                                         double* values) const {
  const T* const class_weight = static_cast<const T*>(plan_.call.class_weight);
  for (int64_t c = first_class_; c < plan_.layout.classes; ++c) {
    const GroupLoss loss = loss_.alone(plan_.call.parameters, sums[c]);
    const double weight = class_weight ? double(class_weight[c]) : 1.0;
    of_classes[c] = {loss.value * weight, loss.d_intersection * weight, loss.d_prediction * weight};
    values[c - first_class_] = of_classes[c].value;
  }
}

template <class T>
void GroupLosses<T>::evaluate_all_classes(const OverlapSums* sums, GroupLoss* of_classes,
                                          double* value) const {
  const int64_t classes = plan_.layout.classes;
  OverlapSums all = {};
  for (int64_t c = first_class_; c < classes; ++c) {
    all.intersection += sums[c].intersection;
    all.prediction += sums[c].prediction;
    all.label += sums[c].label;
    all.positions += sums[c].positions;
  }
  const GroupLoss loss = loss_.alone(plan_.call.parameters, all);
  *value = loss.value;
  std::fill(of_classes + first_class_, of_classes + classes, loss);
}

template <class T>
double GroupLosses<T>::weight_of(int64_t group) const {
  return weight_.data ? double(weight_.at(group)) : 1.0;
}

template <class T>
double GroupLosses<T>::reduction_factor() const {
  const double divisor = divisor_of<T>(plan_.call, int64_t(values_.size()));
  return divisor == 0 ? 0 : 1 / divisor;
}

// What the loss of one element or row counts for.
template <class T>
double GroupLosses<T>::fused_term_factor() const {
  if (plan_.call.reduction == FASTLOSS_SUM) return 1;
  const OverlapLayout& layout = plan_.layout;
  const double count = double(layout.interleaved ? sums_.positions : layout.elements());
  return count == 0 ? 0 : 1 / (count * plan_.call.replicas);
}

template <class T>
double GroupLosses<T>::reduce(T* losses, T* term_values) const {
  double total = 0;
  for (size_t group = 0; group < values_.size(); ++group) {
    const double value = values_[group] * weight_of(int64_t(group));
    if (losses) losses[group] = T(value);
    total += value;
  }
  total *= reduction_factor();
  if (term_values) term_values[0] = T(total);
  if (plan_.call.fused_term_count) total *= plan_.call.factor;
  for (int32_t i = 0; i < plan_.call.fused_term_count; ++i) {
    const double value = sums_.fused_terms[i] * fused_term_factor();
    if (term_values) term_values[1 + i] = T(value);
    total += plan_.call.fused_terms[i].factor * value;
  }
  return total;
}

template <class T>
LossDerivatives<T> GroupLosses<T>::derivatives(const T* upstream) const {
  const fastloss_overlap& call = plan_.call;
  const bool upstream_of_groups = upstream && call.reduction == FASTLOSS_NONE;
  const double upstream_of_all = upstream && !upstream_of_groups ? double(*upstream) : 1.0;
  const double factor =
      reduction_factor() * upstream_of_all * (call.fused_term_count ? call.factor : 1.0);
  LossDerivatives<T> result;
  result.by_sums.resize(of_classes_.size());
  for (int64_t i = 0; i < int64_t(of_classes_.size()); ++i) {
    const int64_t image = i / plan_.layout.classes, c = i % plan_.layout.classes;
    if (c < first_class_) continue;
    const int64_t group = image * groups_per_image() + (call.per_class ? c - first_class_ : 0);
    double scale = factor * weight_of(group);
    if (upstream_of_groups) scale *= double(upstream[group]);
    result.by_sums[i] = {of_classes_[i].d_intersection * scale,
                         of_classes_[i].d_prediction * scale};
  }
  for (int32_t i = 0; i < call.fused_term_count; ++i)
    result.by_fused_terms.push_back(
        T(call.fused_terms[i].factor * fused_term_factor() * upstream_of_all));
  return result;
}

template struct LossDerivatives<float>;
template struct LossDerivatives<double>;
template class GroupLosses<float>;
template class GroupLosses<double>;

}  // namespace fastloss
