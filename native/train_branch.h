// What the two branches of a residual block share in learning, where each is one call: room, packed weights, products of bfloat16 with sums
// of float32, and the gradients of weights over all places.
//
// It knows nothing of what a branch computes. Every sum is one chain in the order of the places, so nothing depends on the threads.
#pragma once
#include <algorithm>
#include <atomic>

#include "kernels.h"
#include "lanes.h"
#include "train_block.h"
#include "workers.h"

namespace escriba {

using Half = std::uint16_t;
constexpr int CHUNK = int(ROWS_A_TASK);  // rows of places that go through at a time
constexpr int WEIGHT_ROWS = 2 * CHUNK;   // rows of a weight's gradient
constexpr int MOST_OF_UNIT = 4 * CHUNK;  // places whose products make a part of the weights' gradients

// Parts of the room, one after another; of none, their sizes.
class Room {
  public:
    explicit Room(unsigned char* begin) : begin_(begin) {}
    template <class T> T* take(std::ptrdiff_t n) {
        T* taken = begin_ ? reinterpret_cast<T*>(begin_ + size_) : nullptr;
        size_ += (n * std::ptrdiff_t(sizeof(T)) + 63) / 64 * 64;
        return taken;
    }
    std::ptrdiff_t size() const { return size_; }

  private:
    unsigned char* begin_;
    std::ptrdiff_t size_ = 0;
};

// A gradient of a weight: d(i, j) = the sum over places of left(i) right(j), both packed.
struct WeightGradient {
    const Half* left;
    int rows;
    const Half* right;
    int columns;
    float* d;
};

class Branch {
  protected:
    Branch(const Kernels& kernels, std::int64_t chunks)
        : kernels(kernels), block(*kernels.block), chunks(int(chunks)), unit(int(std::min<std::int64_t>(MOST_OF_UNIT, chunks * CHUNK))) {}

    // Room for so many numbers of each place, packed: (units, width / 16, unit / 2, 16, 2).
    Half* places(Room& room, std::int64_t width) const { return room.take<Half>(std::int64_t(all_chunks()) * CHUNK * width); }
    int all_chunks() const { return int(parts_of(chunks, unit / CHUNK)) * (unit / CHUNK); }  // those beyond the last are zeros

    void pack(const Matrix& matrix, Half* to, const Team& team) const {
        const int blocks = matrix.rows / LANES;
        kernels.pack_bf16(matrix, team.from(blocks), team.to(blocks), matrix.columns, to);
    }
    // y (rows, 16 blocks) = x times packed weights, in bfloat16; `sums` has room for as many
    void multiply(const Half* weights, int columns, int blocks, const Half* x, int rows, float* sums, Half* y) const {
        const std::ptrdiff_t wide = blocks * LANES;
        kernels.product_bf16(weights, Product{0, blocks, columns, rows, x, columns, sums, wide, nullptr, 0, nullptr, y, wide});
    }
    // Rows of a chunk, turned and packed, among those of their unit; zeros beyond the last.
    void keep(Half* to, const Half* from, int width, int chunk, int rows) const {
        const Matrix matrix{from, width, true, width, rows};
        const int row = chunk * CHUNK;
        to += std::ptrdiff_t(row / unit) * unit * width + row % unit * LANES;
        for (int at = 0; at < width / LANES; ++at)
            kernels.pack_halves(matrix, at, at + 1, CHUNK, to + std::ptrdiff_t(at) * (unit - CHUNK) * LANES);
    }
    // All gradients of weights, some rows at a time, by whoever is free.
    template <std::size_t N>
    void weight_gradients(const WeightGradient (&all)[N]) {
        for (int task; (task = weights_taken++) >= 0;) {
            std::size_t at = 0;
            while (at < N && task >= parts_of(all[at].rows, WEIGHT_ROWS)) task -= int(parts_of(all[at++].rows, WEIGHT_ROWS));
            if (at == N) return;
            weight_gradient(all[at], task * WEIGHT_ROWS);
        }
    }

    const Kernels& kernels;
    const BlockKernels& block;
    const int chunks, unit;
    std::atomic<int> taken{0}, weights_taken{0};  // whoever is free takes the next: processors are not always equally fast

  private:
    void weight_gradient(const WeightGradient& g, int row) const {
        const int rows = std::min(WEIGHT_ROWS, g.rows - row);
        float* y = g.d + std::ptrdiff_t(row) * g.columns;
        for (int at = 0; at < all_chunks() * CHUNK / unit; ++at) {
            const std::ptrdiff_t begin = std::ptrdiff_t(at) * unit;
            const Half* x = g.left + begin * g.rows + row * unit;
            const Product product{0, g.columns / LANES, unit, rows, x, 0, y, g.columns, at ? y : nullptr, g.columns, nullptr};
            kernels.product_of_packed(g.right + begin * g.columns, product);
        }
    }
};

}  // namespace escriba
