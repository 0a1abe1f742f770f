// Packed weights: the rows of a matrix in blocks of 16, as kernels.h tells; in float32, bfloat16, or int8 with a scale a row.
//
// It knows nothing of networks: the order of the rows is given to it.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels.h"
#include "lanes.h"

namespace escriba {

enum class Precision : int { F32 = 0, BF16 = 1, INT8 = 2 };

struct Free { void operator()(void* memory) const; };

// Numbers at an address that is a multiple of 64, zero at first; 64 bytes more lie behind them, so that a vector may read over the end.
template <class T>
struct Buffer {
    std::unique_ptr<T[], Free> data;
    std::size_t size = 0;
    Buffer() = default;
    explicit Buffer(std::size_t n);
    T* get() const { return data.get(); }
    T& operator[](std::size_t i) const { return data[i]; }
};

struct Packed {
    int rows = 0;     // N, padded to a multiple of 16
    int columns = 0;  // K, padded to a multiple of K_STEP
    Precision precision = Precision::F32;
    Buffer<float> f32;
    Buffer<std::uint16_t> bf16;
    Buffer<std::int8_t> int8;
    Buffer<float> scales;       // int8: of each row
    Buffer<std::int32_t> sums;  // int8: of each row, times 128
    int blocks() const { return rows / LANES; }
};

// row(i): which row of `weights` (each `columns` long, `stride` apart) is packed as row i, or -1 for zeros; `rows` is padded up.
// In int8 a row's scale is max|w| / 127, and w becomes round(w / scale), unless `scales` gives the scales by row of `weights`.
template <class Row>
Packed pack(const float* weights, std::ptrdiff_t stride, int rows, int columns, Precision precision, Row row,
            const float* scales = nullptr);

// Room for a matrix in float32 or bfloat16, for `pack_blocks` to fill.
Packed room_for(int rows, int columns, Precision precision);

// Packs blocks first to last - 1 of a matrix of floats; threads may share the blocks of one `packed`. Nothing need be zero before.
void pack_blocks(const Kernels& kernels, const Packed& packed, const Matrix& matrix, int first, int last);
// The same of bfloat16, to bfloat16.
void pack_blocks_of_bf16(const Kernels& kernels, const Packed& packed, const Matrix& matrix, int first, int last);

// y = start + x W for the blocks first to last - 1; x must be of the precision of the weights (see `Inputs`).
void product(const Kernels& kernels, const Packed& weights, Product p);

}  // namespace escriba

#include "pack.inl"
