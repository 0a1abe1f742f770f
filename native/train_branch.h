// What the two branches of a residual block share in learning: room, packed weights, products of bfloat16 with sums of float32, and the
// gradients of weights over all places.
//
// Places are rows of times. Rows go through in stretches: one by one, or several short ones together, by their shape alone; a stretch goes
// through in chunks of places. A unit is so many chunks, those beyond the last being zeros. It knows nothing of what a branch computes.
#pragma once
#include <algorithm>
#include <array>

#include "kernels.h"
#include "lanes.h"
#include "threads.h"
#include "train_block.h"

namespace escriba {

using Half = std::uint16_t;
constexpr int CHUNK = int(ROWS_A_TASK);  // rows of places that go through at a time
constexpr int WEIGHT_ROWS = 2 * CHUNK;   // rows of a weight's gradient
constexpr int MOST_OF_UNIT = 4 * CHUNK;  // places whose products make a part of the weights' gradients
constexpr int MOST_OF_STRETCH = 4 * CHUNK;  // places of several rows that go through together
constexpr int LEAST_STRETCHES = 16;         // so that all threads have work

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

// Parts of a gradient, of so many numbers each, whose sum goes into the first.
struct Parts {
    float* first;
    std::int64_t many, wide;
};

class Branch {
  public:
    int stretches() const { return stretches_; }
    int chunks() const { return chunks_; }
    int chunks_a_stretch() const { return chunks_a_stretch_; }
    int stretch() const { return stretch_; }  // places, at most
    int places_of(int stretch) const { return std::min(stretch_, rows_ * times_ - stretch * stretch_); }

  protected:
    Branch(const Kernels& kernels, std::int64_t rows, std::int64_t times)
        : kernels(kernels), block(*kernels.block), rows_(int(rows)), times_(int(times)),
          rows_a_stretch_(std::max(1, std::min(MOST_OF_STRETCH / times_, rows_ / LEAST_STRETCHES))), stretch_(rows_a_stretch_ * times_),
          stretches_(int(parts_of(rows_, rows_a_stretch_))), chunks_a_stretch_(int(parts_of(stretch_, CHUNK))),
          chunks_((stretches_ - 1) * chunks_a_stretch_ + int(parts_of(places_of(stretches_ - 1), CHUNK))),
          unit_(std::min(MOST_OF_UNIT, chunks_ * CHUNK)) {}

    // Room for so many numbers of each place, packed: (units, width / 16, unit / 2, 16, 2).
    Half* places(Room& room, std::int64_t width) const { return room.take<Half>(std::int64_t(all_chunks()) * CHUNK * width); }
    int all_chunks() const { return int(parts_of(chunks_, unit_ / CHUNK)) * (unit_ / CHUNK); }
    // Where a place of a stretch stands in arrays of `wide` numbers a place.
    std::ptrdiff_t at(int stretch, int place, int wide) const { return (std::ptrdiff_t(stretch) * stretch_ + place) * wide; }
    int chunk_of(int stretch, int place) const { return stretch * chunks_a_stretch_ + place / CHUNK; }
    int places_from(int stretch, int place) const { return std::min(CHUNK, places_of(stretch) - place); }

    // The norm of a chunk, which both branches begin with; what it is of, or its gradients, is still to be set.
    template <class Arrays, class Bench>
    AddNorm norm_of(const Arrays& a, const Bench& bench, int stretch, int place, int n) const {
        AddNorm record{};
        record.bf16 = 1, record.rows = n, record.width = a.width, record.before = at(stretch, place, 1);
        record.seed = a.seed, record.share = a.share, record.weight = a.norm;
        record.sum = a.sum + at(stretch, place, int(a.width)), record.normed = bench.u, record.inverse = bench.inverse;
        return record;
    }
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
        to += std::ptrdiff_t(row / unit_) * unit_ * width + row % unit_ * LANES;
        for (int at = 0; at < width / LANES; ++at)
            kernels.pack_halves(matrix, at, at + 1, CHUNK, to + std::ptrdiff_t(at) * (unit_ - CHUNK) * LANES);
    }
    // Some rows of a gradient of a weight: one chain in the order of the places.
    void weight_gradient(const WeightGradient& g, int row) const {
        const int rows = std::min(WEIGHT_ROWS, g.rows - row);
        float* y = g.d + std::ptrdiff_t(row) * g.columns;
        for (int at = 0; at < all_chunks() * CHUNK / unit_; ++at) {
            const std::ptrdiff_t begin = std::ptrdiff_t(at) * unit_;
            const Half* x = g.left + begin * g.rows + row * unit_;
            const Product product{0, g.columns / LANES, unit_, rows, x, 0, y, g.columns, at ? y : nullptr, g.columns, nullptr};
            kernels.product_of_packed(g.right + begin * g.columns, product);
        }
    }
    // How many tasks all gradients of weights are, and the one of a number.
    template <std::size_t N, std::size_t M>
    static int tasks_of(const std::array<WeightGradient, N>& matrices, const std::array<Parts, M>& vectors) {
        int tasks = int(vectors.size());
        for (const WeightGradient& one : matrices) tasks += int(parts_of(one.rows, WEIGHT_ROWS));
        return tasks;
    }
    template <std::size_t N, std::size_t M>
    void do_task(const std::array<WeightGradient, N>& matrices, const std::array<Parts, M>& vectors, int task) const {
        for (const WeightGradient& one : matrices) {
            const int tasks = int(parts_of(one.rows, WEIGHT_ROWS));
            if (task < tasks) return weight_gradient(one, task * WEIGHT_ROWS);
            task -= tasks;
        }
        const Parts& parts = vectors[std::size_t(task)];
        for (std::int64_t part = 1; part < parts.many; ++part)
            for (std::int64_t i = 0; i < parts.wide; ++i) parts.first[i] += parts.first[part * parts.wide + i];
    }

    const Kernels& kernels;
    const BlockKernels& block;
    const int rows_, times_, rows_a_stretch_, stretch_, stretches_, chunks_a_stretch_, chunks_, unit_;
};

}  // namespace escriba
