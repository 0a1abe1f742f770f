// The recurrent weights of one call, packed for its products by all of its threads: as they are, for the way forward, or turned.
//
// It knows nothing of cells and of time.
#pragma once
#include "kernels.h"
#include "pack.h"
#include "threads.h"

namespace escriba {

enum class Numbers : int { F32 = 0, BF16 = 1, F64 = 2 };  // of the products; sums and states are float32, of F64 float64

inline int bytes_stored(Numbers numbers) { return numbers == Numbers::BF16 ? 2 : numbers == Numbers::F32 ? 4 : 8; }
inline int bytes_real(Numbers numbers) { return numbers == Numbers::F64 ? 8 : 4; }
inline int padded(int columns) { return (columns + K_STEP - 1) / K_STEP * K_STEP; }

class ClassicWeights {
  public:
    // `weight` is (gates hidden, hidden), real. Forward: the blocks of 16 units have their gates beside one another (K: hidden);
    // backward: the same weights turned, a block for 16 units (K: gates hidden).
    ClassicWeights(const void* weight, int gates, int hidden, bool backward, Numbers numbers);
    void pack(const Team& team);  // by every thread of the team, which then waits for the others
    int columns() const { return columns_; }
    std::size_t bytes() const { return packed_.size; }

    // y = start + x W for the blocks first to first + blocks - 1, which stand in y from its first column on; `start` is one for all rows
    void multiply(const Kernels& kernels, int first, int blocks, int rows, const void* x, std::ptrdiff_t x_row, void* y,
                  std::ptrdiff_t y_row, const void* start) const;

  private:
    template <class From, class To> void pack_forward(int first, int last);
    template <class From, class To> void pack_backward(int first, int last);

    const void* weight_;
    int gates_, hidden_, columns_, blocks_;
    bool backward_;
    Numbers numbers_;
    Buffer<unsigned char> packed_;
};

}  // namespace escriba
