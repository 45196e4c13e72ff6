// Runs while TensorFlow loads the library.
#include "tensorflow/register.h"

#include <cstdio>
#include <exception>

#include "api/fastloss.h"

namespace {

struct Registration {
  Registration() {
    try {
      fastloss::register_accumulate();
      fastloss::register_boxes();
      fastloss::register_columns();
      fastloss::register_elementwise();
      fastloss::register_overlap();
      fastloss::register_rowwise();
      fastloss::register_scale();
      fastloss::register_update_rows();
    } catch (const std::exception& error) {
      // An exception cannot leave a static initialiser; a missing op is reported by the loader.
      std::fprintf(stderr, "fastloss: the ops could not be registered: %s\n", error.what());
    }
  }
};

}  // namespace

static const Registration registration;
