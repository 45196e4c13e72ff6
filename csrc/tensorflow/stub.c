// Stands in for libtensorflow_framework.so.2 at link time only: it gives our library the dependency
// and the symbol names; at run time TensorFlow's own library is loaded already.
#define FASTLOSS_TF(RESULT, NAME, ARGUMENTS) \
  void NAME(void);                           \
  void NAME(void) {}
#include "tensorflow/c_api_functions.inc"
