// The losses between boxes. A box is an interval on each of two axes, and all that a loss wants to
// know of a pair of boxes are lengths along one axis at a time. Each loss is a functor that sees
// the axes of one pair; parameters arrive in the order that LIST names them.
//
// No denominator is below epsilon, and one that would be is a constant to the gradient.
#pragma once

#include "losses/scalar.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// The ends of an interval, or derivatives by them.
template <class T>
struct Ends {
  T low, high;
};
template <class T>
FASTLOSS_INLINE Ends<T> operator+(Ends<T> x, Ends<T> y) {
  return {x.low + y.low, x.high + y.high};
}
template <class T>
FASTLOSS_INLINE Ends<T> operator-(Ends<T> x, Ends<T> y) {
  return {x.low - y.low, x.high - y.high};
}
template <class T>
FASTLOSS_INLINE Ends<T> operator*(T factor, Ends<T> x) {
  return {factor * x.low, factor * x.high};
}

// The larger; NaN if x is. A plain selection, one instruction, since `bound` is never NaN.
template <class T>
FASTLOSS_INLINE T at_least(T bound, T x) {
  return bound > x ? bound : x;
}
template <class T>
FASTLOSS_INLINE T smaller(T x, T y) {
  return x < y ? x : y;
}
template <class T>
FASTLOSS_INLINE T larger(T x, T y) {
  return x > y ? x : y;
}

// The derivative of max(x, 0), at 0 that of the left.
template <class T>
FASTLOSS_INLINE T step(T x) {
  return x > 0 ? T(1) : T(0);
}
// The same, at 0 the mean of both sides: so equal boxes have the gradient 0.
template <class T>
FASTLOSS_INLINE T even_step(T x) {
  return (x > 0 ? T(0.5) : T(0)) + (x >= 0 ? T(0.5) : T(0));
}

// One axis of a predicted box and a label. Ends in the wrong order make an empty interval of their
// box; the hull holds them all the same, from which such a prediction may find back.
template <class T>
struct Axis {
  T width, label_width, overlap, hull;
  T shift;  // from the label's centre to the prediction's

  static FASTLOSS_INLINE Axis of_corners(Ends<T> box, Ends<T> label) {
    return Axis(box, label, box.high - box.low, label.high - label.low,
                T(0.5) * ((box.low - label.low) + (box.high - label.high)));
  }
  // Ends count from the centre of the prediction, so that no digits are lost to where a box lies.
  static FASTLOSS_INLINE Axis of_centres(T centre, T size, T label_centre, T label_size) {
    const T half = T(0.5) * size, label_half = T(0.5) * label_size, shift = centre - label_centre;
    return Axis({-half, half}, {-shift - label_half, label_half - shift}, size, label_size, shift);
  }

  // factor * the derivative of a length by the ends of the predicted box.
  FASTLOSS_INLINE Ends<T> by_width(T factor) const {
    const T slope = step(width) * factor;
    return {-slope, slope};
  }
  FASTLOSS_INLINE Ends<T> by_overlap(T factor) const {
    const T slope = step(overlap) * factor;
    return {slope * (beyond_.low - T(1)), slope * (T(1) - beyond_.high)};
  }
  FASTLOSS_INLINE Ends<T> by_hull(T factor) const {
    const T low = -(factor * beyond_.low), high = factor * beyond_.high;
    return {inverted_ ? high : low, inverted_ ? low : high};
  }
  FASTLOSS_INLINE Ends<T> by_shift(T factor) const { return {T(0.5) * factor, T(0.5) * factor}; }

 private:
  FASTLOSS_INLINE Axis(Ends<T> box, Ends<T> label, T size, T label_size, T shift)
      : width(at_least(T(0), size)),
        label_width(at_least(T(0), label_size)),
        overlap(at_least(T(0), smaller(box.high, label.high) - larger(box.low, label.low))),
        shift(shift),
        inverted_(box.high < box.low) {
    const T low = smaller(box.low, box.high), high = larger(box.high, box.low);
    const T label_low = smaller(label.low, label.high), label_high = larger(label.high, label.low);
    hull = larger(high, label_high) - smaller(low, label_low);
    beyond_ = {even_step(label_low - low), even_step(high - label_high)};
  }

  bool inverted_;
  Ends<T> beyond_;  // how far each end makes the hull: 0, 1, or half where it meets the label's
};

// `x` and `y` are the derivatives of `value`.
template <class T>
struct BoxPoint {
  T value;
  Ends<T> x, y;
};

// 1 - intersection / union.
template <class T>
struct box_iou {
  T epsilon;
  explicit box_iou(const double* parameters) : epsilon(T(parameters[0])) {}

  static FASTLOSS_INLINE T area_of_union(const Axis<T>& x, const Axis<T>& y) {
    return x.overlap * y.overlap + outside(x, y);
  }
  FASTLOSS_INLINE BoxPoint<T> operator()(const Axis<T>& x, const Axis<T>& y) const {
    const T area = area_of_union(x, y), divisor = at_least(epsilon, area);
    const T value = (outside(x, y) + (divisor - area)) / divisor;
    const T inverse = T(1) / divisor;
    const T iou = detail::zero_unless(!(area < epsilon), T(1) - value);
    const auto slopes = [&](const Axis<T>& axis, const Axis<T>& other) {
      return inverse *
             (axis.by_width(iou * other.width) - axis.by_overlap((iou + T(1)) * other.overlap));
    };
    return {value, slopes(x, y), slopes(y, x)};
  }

 private:
  // What only one of the boxes covers, as a sum of strips: a difference of areas would lose what is
  // left to learn of a good prediction.
  static FASTLOSS_INLINE T outside(const Axis<T>& x, const Axis<T>& y) {
    return (x.width * (y.width - y.overlap) + y.overlap * (x.width - x.overlap)) +
           (x.label_width * (y.label_width - y.overlap) + y.overlap * (x.label_width - x.overlap));
  }
};

// Plus the share of the hull that neither box covers.
template <class T>
struct generalized_box_iou : box_iou<T> {
  using box_iou<T>::box_iou;
  FASTLOSS_INLINE BoxPoint<T> operator()(const Axis<T>& x, const Axis<T>& y) const {
    const BoxPoint<T> iou = box_iou<T>::operator()(x, y);
    const T area = x.hull * y.hull, divisor = at_least(this->epsilon, area);
    const T covered = this->area_of_union(x, y) / divisor;
    const T inverse = T(1) / divisor;
    const T growth = covered + detail::zero_unless(area < this->epsilon, T(1) - covered);
    const auto slopes = [&](const Axis<T>& axis, const Axis<T>& other) {
      return inverse * (axis.by_hull(growth * other.hull) - axis.by_width(other.width) +
                        axis.by_overlap(other.overlap));
    };
    return {iou.value + (area / divisor - covered), iou.x + slopes(x, y), iou.y + slopes(y, x)};
  }
};

// Plus the squared distance of the centres, as a share of the hull's squared diagonal.
template <class T>
struct distance_box_iou : box_iou<T> {
  using box_iou<T>::box_iou;
  FASTLOSS_INLINE BoxPoint<T> operator()(const Axis<T>& x, const Axis<T>& y) const {
    const BoxPoint<T> iou = box_iou<T>::operator()(x, y);
    const T diagonal = x.hull * x.hull + y.hull * y.hull;
    const T divisor = at_least(this->epsilon, diagonal), inverse = T(1) / divisor;
    const T distance = (x.shift * x.shift + y.shift * y.shift) / divisor;
    const T shrink = detail::zero_unless(!(diagonal < this->epsilon), distance + distance);
    const auto slopes = [&](const Axis<T>& axis) {
      return inverse * (axis.by_shift(axis.shift + axis.shift) - axis.by_hull(shrink * axis.hull));
    };
    return {iou.value + distance, iou.x + slopes(x), iou.y + slopes(y)};
  }
};

// Plus alpha v, with v the squared difference of the angles of the diagonals, as a share of pi / 2,
// and alpha = v / (1 - IoU + v), a constant to the gradient. Of a box whose diagonal squared is
// below epsilon the angle means nothing, and v is 0.
template <class T>
struct complete_box_iou : distance_box_iou<T> {
  using distance_box_iou<T>::distance_box_iou;
  FASTLOSS_INLINE BoxPoint<T> operator()(const Axis<T>& x, const Axis<T>& y) const {
    constexpr T kScale = T(0.40528473456935108578);  // 4 / pi^2
    const BoxPoint<T> distance = distance_box_iou<T>::operator()(x, y);
    const T miss = box_iou<T>::operator()(x, y).value;
    const T square = x.width * x.width + y.width * y.width;
    const T label_square = x.label_width * x.label_width + y.label_width * y.label_width;
    // Of the difference at once: one function, and exact for boxes of almost the same shape. The
    // cross product of the sides may take either box for one of its factors; the smaller loses
    // less.
    const bool is_smaller = square < label_square;
    const T cross = (x.label_width - x.width) * (is_smaller ? y.width : y.label_width) -
                    (y.label_width - y.width) * (is_smaller ? x.width : x.label_width);
    const T dot = x.width * x.label_width + y.width * y.label_width;
    const T angle = smaller(square, label_square) < this->epsilon ? T(0) : atan2(cross, dot);
    const T v = kScale * (angle * angle);
    const T alpha = v / at_least(this->epsilon, miss + v);
    const T turn = (kScale + kScale) * (alpha * angle) / at_least(this->epsilon, square);
    return {distance.value + alpha * v, distance.x - x.by_width(turn * y.width),
            distance.y + y.by_width(turn * x.width)};
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss

// LIST(loss, parameters...)
#define FASTLOSS_BOX_LOSSES(LIST)    \
  LIST(box_iou, epsilon)             \
  LIST(generalized_box_iou, epsilon) \
  LIST(distance_box_iou, epsilon)    \
  LIST(complete_box_iou, epsilon)
