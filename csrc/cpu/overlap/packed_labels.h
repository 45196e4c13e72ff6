// Labels of a first walk, kept for a second one: where they are all 0 or 1, as bits, which are a
// fraction of the memory to read again.
#pragma once

#include <memory>
#include <vector>

#include "api/fastloss.h"
#include "cpu/kernels/overlap_tile.h"

namespace fastloss {

template <class T>
class KeptLabels {
 public:
  using Word = typename LabelBits<T>::Word;

  explicit KeptLabels(const OverlapOps<T>& ops) : ops_(ops) {}

  // Chunks of up to so many elements. Until then none are kept.
  void open(int64_t chunks, int64_t elements) {
    words_ = LabelBits<T>::words(elements);
    const int64_t bytes = chunks * words_ * int64_t(sizeof(Word));
    words_of_all_ = {static_cast<Word*>(fastloss_allocate(bytes)), Release{bytes}};
    if (words_of_all_) kept_.assign(chunks, true);
  }
  // The elements of the chunk from `begin` on; in order.
  void keep(int64_t chunk, int64_t begin, const T* label, int64_t count) {
    // Stored once at most: other threads read the flags beside it.
    if (kept(chunk) && !ops_.pack(label, begin, count, words(chunk))) kept_[chunk] = false;
  }
  // All of the chunk.
  bool kept(int64_t chunk) const { return !kept_.empty() && kept_[chunk]; }
  const T* read(int64_t chunk, int64_t begin, int64_t count, T* label) const {
    ops_.unpack(words(chunk), begin, count, label);
    return label;
  }
  Word* words(int64_t chunk) const { return words_of_all_.get() + chunk * words_; }

 private:
  struct Release {
    int64_t bytes = 0;
    void operator()(Word* words) const { fastloss_release(words, bytes); }
  };
  const OverlapOps<T>& ops_;
  int64_t words_ = 0;  // of a chunk
  std::unique_ptr<Word, Release> words_of_all_;
  std::vector<char> kept_;  // for each chunk
};

}  // namespace fastloss
