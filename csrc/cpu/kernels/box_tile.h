// What the driver of the boxes asks of an instruction set: a loop over kRowLanes pairs of boxes,
// interleaved: a coordinate of all of them is followed by the next of all of them.
#pragma once

#include "cpu/kernels/lanes.h"

namespace fastloss {

// Of each pair the loss, and its gradient times `scale`; `gradient` may be null.
template <class T>
using BoxLoop = void (*)(const double* parameters, const T* label, const T* prediction,
                         const Lanes<T>& scale, Lanes<T>* value, T* gradient);

template <class T>
struct BoxOps {
  // The loop of a loss; null for an unknown one. Boxes are corners, or centre and size.
  BoxLoop<T> (*find)(const char* loss, bool centred);
};

}  // namespace fastloss
