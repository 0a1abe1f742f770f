// The second branch of a residual block in learning, as Python calls it: norm, product, gate, product, and all of their gradients, with
// products of bfloat16 and sums of float32. What stands between two products stays near the processor and is not written to memory.
//
// u = norm(x + dropped(branch)); m, q = up u; out = down (m silu(q)). It knows nothing of layers, nor of gradients' bookkeeping (Python).
// Forward, threads take rows; backward, rows and then rows of the weights' gradients. Every sum is one chain in the order of the places,
// so nothing depends on the threads.
#include <algorithm>
#include <atomic>

#include "export.h"
#include "kernels.h"
#include "lanes.h"
#include "train_block.h"
#include "workers.h"

namespace escriba {

// Arrays lie together. `width` and `inner` are multiples of 64. Fields are 8 bytes wide, so that other languages can write them.
struct Mlp {
    std::int64_t threads, rows, width, inner;
    std::uint64_t seed;            // of what is dropped of the branch
    double share;
    const float* x;                // (rows, width)
    const std::uint16_t* branch;   // (rows, width)
    const float* norm;             // (width)
    const float* up;               // (2 inner, width)
    const float* down;             // (width, inner)
    float* sum;                    // (rows, width): x + dropped(branch); backward reads it
    std::uint16_t* m;              // (rows, 2 inner): m, q; backward reads it
    std::uint16_t* out;            // (rows, width)
    const float* d_sum;            // or null: zeros
    const std::uint16_t* d_out;
    float* d_x;
    std::uint16_t* d_branch;
    float* d_norm;                 // (parts of ROWS_A_TASK rows, width)
    float* d_up;
    float* d_down;
    unsigned char* room;           // of `escriba_mlp_room` bytes, at a multiple of 64
};

namespace {

using Half = std::uint16_t;
constexpr int CHUNK = int(ROWS_A_TASK);  // rows that go through at a time; of places, or of a weight's gradient
constexpr int UNIT = 8 * CHUNK;          // places whose products make a part of the weights' gradients
constexpr int PANEL = 8 * LANES;         // of the wide product, of each half: what is made before it meets the gate

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

// What one thread needs for itself.
struct Bench {
    Half *u, *gated, *d_gated, *d_m;
    float *sums, *inverse;
    Bench(Room& room, const Mlp& a, bool backward) {
        u = room.take<Half>(CHUNK * a.width);
        gated = room.take<Half>(CHUNK * a.inner);
        d_gated = room.take<Half>(backward ? CHUNK * a.inner : 0);
        d_m = room.take<Half>(backward ? CHUNK * 2 * a.inner : 0);
        sums = room.take<float>(CHUNK * std::max<std::int64_t>(backward ? std::max(a.inner, a.width) : 2 * PANEL, a.width));
        inverse = room.take<float>(CHUNK);
    }
};

// Rows of places packed for the weights' gradients, unit by unit; each array is (units, width / 16, UNIT / 2, 16, 2).
struct Places {
    Half *u = nullptr, *d_m = nullptr, *gated = nullptr, *d_out = nullptr;
    Places() = default;
    Places(Room& room, const Mlp& a) {
        const std::int64_t rows = parts_of(a.rows, UNIT) * UNIT;
        u = room.take<Half>(rows * a.width);
        d_m = room.take<Half>(rows * 2 * a.inner);
        gated = room.take<Half>(rows * a.inner);
        d_out = room.take<Half>(rows * a.width);
    }
};

class MlpWork {
  public:
    MlpWork(const Kernels& kernels, const Mlp& a, bool backward)
        : kernels_(kernels), block_(*kernels.block), a_(a), width_(int(a.width)), inner_(int(a.inner)), backward_(backward) {
        Room room(a.room), bench(nullptr);
        up_ = room.take<Half>(2 * a.inner * a.width);
        down_ = room.take<Half>(a.inner * a.width);
        if (backward) places_ = Places(room, a);
        Bench(bench, a, backward);
        bench_size_ = bench.size();
        benches_ = room.take<unsigned char>(a.threads * bench_size_);
        size_ = room.size();
    }
    std::int64_t room() const { return size_; }

    void forward() {
        together_with_workers(int(a_.threads), [&](Team team) {
            pack(Matrix{a_.up, width_, false, 2 * inner_, width_}, up_, team);
            pack(Matrix{a_.down, inner_, false, width_, inner_}, down_, team);
            team.wait();
            const Bench bench = bench_of(team);
            const int chunks = int(parts_of(a_.rows, CHUNK));
            for (int chunk; (chunk = rows_taken_++) < chunks;) forward(bench, chunk * CHUNK);
        });
    }

    void backward() {
        together_with_workers(int(a_.threads), [&](Team team) {
            pack(Matrix{a_.up, width_, true, width_, 2 * inner_}, up_, team);
            pack(Matrix{a_.down, inner_, true, inner_, width_}, down_, team);
            team.wait();
            const Bench bench = bench_of(team);
            const int chunks = int(parts_of(a_.rows, UNIT)) * (UNIT / CHUNK);  // those beyond the last row are kept as zeros
            for (int chunk; (chunk = rows_taken_++) < chunks;) backward(bench, chunk * CHUNK);
            team.wait();
            for (int row; (row = weights_taken_.fetch_add(CHUNK)) < 2 * inner_ + width_;)
                if (row < 2 * inner_) weight_gradient(row, places_.d_m, 2 * inner_, places_.u, width_, a_.d_up);
                else weight_gradient(row - 2 * inner_, places_.d_out, width_, places_.gated, inner_, a_.d_down);
        });
    }

  private:
    Bench bench_of(const Team& team) const {
        Room room(benches_ + team.number * bench_size_);
        return Bench(room, a_, backward_);
    }
    int rows_from(int row) const { return int(std::min<std::int64_t>(CHUNK, a_.rows - row)); }

    void pack(const Matrix& matrix, Half* to, const Team& team) const {
        const int blocks = matrix.rows / LANES;
        kernels_.pack_bf16(matrix, team.from(blocks), team.to(blocks), matrix.columns, to);
    }
    // y (rows, 16 blocks) = x times packed weights, in bfloat16
    void multiply(const Half* weights, int columns, int blocks, const Half* x, int rows, float* sums, Half* y) const {
        kernels_.product_bf16(weights, Product{0, blocks, columns, rows, x, columns, sums, blocks * LANES, nullptr, 0, nullptr});
        kernels_.to_bf16(sums, y, std::ptrdiff_t(rows) * blocks * LANES);
    }
    AddNorm norm_of(const Bench& bench, int row) const {
        AddNorm record{};
        record.bf16 = 1, record.rows = rows_from(row), record.width = width_, record.before = row;
        record.seed = a_.seed, record.share = a_.share, record.weight = a_.norm;
        record.sum = a_.sum + std::ptrdiff_t(row) * width_, record.normed = bench.u, record.inverse = bench.inverse;
        return record;
    }
    Gate gate_of(const Bench& bench, int row) const {
        Gate record{};
        record.bf16 = 1, record.rows = rows_from(row), record.width = inner_;
        record.a = a_.m + std::ptrdiff_t(row) * 2 * inner_, record.g = static_cast<const Half*>(record.a) + inner_;
        record.a_row = record.g_row = 2 * inner_, record.y = bench.gated;
        return record;
    }

    void forward(const Bench& bench, int row) const {
        const int rows = rows_from(row);
        AddNorm norm = norm_of(bench, row);
        norm.x = a_.x + std::ptrdiff_t(row) * width_, norm.branch = a_.branch + std::ptrdiff_t(row) * width_;
        block_.add_norm(norm, 0, 1);
        Gate gate = gate_of(bench, row);
        for (int first = 0; first < inner_; first += PANEL) {
            const int wide = std::min(PANEL, inner_ - first);
            for (int half = 0; half < 2; ++half) {
                const int column = half * inner_ + first;
                const Product product{0, wide / LANES, width_, rows, bench.u, width_, bench.sums, PANEL, nullptr, 0, nullptr};
                kernels_.product_bf16(up_ + std::ptrdiff_t(column) * width_, product);
                for (int i = 0; i < rows; ++i)
                    kernels_.to_bf16(bench.sums + i * PANEL, a_.m + std::ptrdiff_t(row + i) * 2 * inner_ + column, wide);
            }
        }
        block_.gate(gate, 0, 1);
        multiply(down_, inner_, width_ / LANES, bench.gated, rows, bench.sums, a_.out + std::ptrdiff_t(row) * width_);
    }

    void backward(const Bench& bench, int row) const {
        const int rows = std::max(0, rows_from(row));
        const std::ptrdiff_t at = std::ptrdiff_t(row) * width_;
        if (rows) {
            AddNorm norm = norm_of(bench, row);
            norm.x = norm.sum;
            block_.add_norm(norm, 0, 1);
            Gate gate = gate_of(bench, row);
            block_.gate(gate, 0, 1);
            multiply(down_, width_, inner_ / LANES, a_.d_out + at, rows, bench.sums, bench.d_gated);
            gate.d_y = bench.d_gated, gate.d_a = bench.d_m, gate.d_g = bench.d_m + inner_, gate.d_a_row = gate.d_g_row = 2 * inner_;
            block_.gate_back(gate, 0, 1);
        }
        keep(places_.u, bench.u, width_, row, rows);
        keep(places_.gated, bench.gated, inner_, row, rows);
        keep(places_.d_m, bench.d_m, 2 * inner_, row, rows);
        keep(places_.d_out, a_.d_out + at, width_, row, rows);
        if (!rows) return;
        multiply(up_, 2 * inner_, width_ / LANES, bench.d_m, rows, bench.sums, bench.u);
        AddNorm norm = norm_of(bench, row);
        norm.d_normed = bench.u, norm.d_sum = a_.d_sum ? a_.d_sum + at : nullptr;
        norm.d_x = a_.d_x + at, norm.d_branch = a_.d_branch + at, norm.d_parts = a_.d_norm + row / CHUNK * a_.width;
        block_.add_norm_back(norm, 0, 1);
    }

    // Rows of a chunk, turned and packed, among those of their unit; zeros beyond the last.
    void keep(Half* places, const Half* from, int width, int row, int rows) const {
        const Matrix matrix{from, width, true, width, rows};
        const int unit = row / UNIT, begin = row % UNIT;
        Half* to = places + std::ptrdiff_t(unit) * UNIT * width + begin * LANES;
        for (int block = 0; block < width / LANES; ++block)
            kernels_.pack_halves(matrix, block, block + 1, CHUNK, to + std::ptrdiff_t(block) * (UNIT - CHUNK) * LANES);
    }

    // d(i, j) = the sum over places of left(i) right(j), for CHUNK rows i.
    void weight_gradient(int row, const Half* left, int rows, const Half* right, int columns, float* d) const {
        float* y = d + std::ptrdiff_t(row) * columns;
        for (int unit = 0; unit < parts_of(a_.rows, UNIT); ++unit) {
            const std::ptrdiff_t begin = std::ptrdiff_t(unit) * UNIT;
            const Half* x = left + begin * rows + row * UNIT;
            const Product product{0, columns / LANES, UNIT, CHUNK, x, 0, y, columns, unit ? y : nullptr, columns, nullptr};
            kernels_.product_of_packed(right + begin * columns, product);
        }
    }

    const Kernels& kernels_;
    const BlockKernels& block_;
    const Mlp& a_;
    const int width_, inner_;
    const bool backward_;
    Half *up_, *down_;
    Places places_;
    unsigned char* benches_;
    std::ptrdiff_t bench_size_, size_;
    std::atomic<int> rows_taken_{0}, weights_taken_{0};  // whoever is free takes the next: processors are not always equally fast
};

}  // namespace
}  // namespace escriba

using namespace escriba;

ESCRIBA_API std::int64_t escriba_mlp_room(const Mlp* mlp, int backward) {
    Mlp empty = *mlp;
    empty.room = nullptr;
    return MlpWork(kernels(Level::PLAIN), empty, backward != 0).room();
}
ESCRIBA_API void escriba_mlp(int level, const Mlp* mlp) { MlpWork(kernels(Level(level)), *mlp, false).forward(); }
ESCRIBA_API void escriba_mlp_back(int level, const Mlp* mlp) { MlpWork(kernels(Level(level)), *mlp, true).backward(); }
