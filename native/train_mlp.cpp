// The second branch of a residual block in learning, as Python calls it: norm, product, gate, product, and all of their gradients, with
// products of bfloat16 and sums of float32. What stands between two products stays near the processor and is not written to memory.
//
// u = norm(x + dropped(branch)); m, q = up u; out = down (m silu(q)). It knows nothing of layers, nor of gradients' bookkeeping (Python).
// Forward, threads take rows; backward, rows and then rows of the weights' gradients. Every sum is one chain in the order of the places,
// so nothing depends on the threads.
#include "export.h"
#include "train_branch.h"

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

// What one thread needs for itself.
struct Bench {
    Half *u, *gated, *d_gated, *d_m;
    float *sums, *inverse;
    Bench(Room& room, const Mlp& a, bool backward) {
        u = room.take<Half>(CHUNK * a.width);
        gated = room.take<Half>(CHUNK * a.inner);
        d_gated = room.take<Half>(backward ? CHUNK * a.inner : 0);
        d_m = room.take<Half>(backward ? CHUNK * 2 * a.inner : 0);
        sums = room.take<float>(CHUNK * std::max(2 * a.inner, a.width));
        inverse = room.take<float>(CHUNK);
    }
};

class MlpWork : Branch {
  public:
    MlpWork(const Kernels& kernels, const Mlp& a, bool backward)
        : Branch(kernels, parts_of(a.rows, CHUNK)), a_(a), width_(int(a.width)), inner_(int(a.inner)), backward_(backward) {
        Room room(a.room), bench(nullptr);
        up_ = room.take<Half>(2 * a.inner * a.width);
        down_ = room.take<Half>(a.inner * a.width);
        if (backward) {
            u_ = places(room, a.width), gated_ = places(room, a.inner);
            d_m_ = places(room, 2 * a.inner), d_out_ = places(room, a.width);
        }
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
            for (int chunk; (chunk = taken++) < chunks;) forward(bench, chunk * CHUNK);
        });
    }

    void backward() {
        together_with_workers(int(a_.threads), [&](Team team) {
            pack(Matrix{a_.up, width_, true, width_, 2 * inner_}, up_, team);
            pack(Matrix{a_.down, inner_, true, inner_, width_}, down_, team);
            team.wait();
            const Bench bench = bench_of(team);
            for (int chunk; (chunk = taken++) < all_chunks();) backward(bench, chunk);
            team.wait();
            weight_gradients({{d_m_, 2 * inner_, u_, width_, a_.d_up}, {d_out_, width_, gated_, inner_, a_.d_down}});
        });
    }

  private:
    Bench bench_of(const Team& team) const {
        Room room(benches_ + team.number * bench_size_);
        return Bench(room, a_, backward_);
    }
    int rows_from(int row) const { return int(std::min<std::int64_t>(CHUNK, a_.rows - row)); }

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
        block.add_norm(norm, 0, 1);
        Gate gate = gate_of(bench, row);
        multiply(up_, width_, 2 * inner_ / LANES, bench.u, rows, bench.sums, a_.m + std::ptrdiff_t(row) * 2 * inner_);
        block.gate(gate, 0, 1);
        multiply(down_, inner_, width_ / LANES, bench.gated, rows, bench.sums, a_.out + std::ptrdiff_t(row) * width_);
    }

    void backward(const Bench& bench, int chunk) const {
        const int row = chunk * CHUNK, rows = std::max(0, rows_from(row));
        const std::ptrdiff_t at = std::ptrdiff_t(row) * width_;
        if (rows) {
            AddNorm norm = norm_of(bench, row);
            norm.x = norm.sum;
            block.add_norm(norm, 0, 1);
            Gate gate = gate_of(bench, row);
            multiply(down_, width_, inner_ / LANES, a_.d_out + at, rows, bench.sums, bench.d_gated);
            gate.d_y = bench.d_gated, gate.d_a = bench.d_m, gate.d_g = bench.d_m + inner_, gate.d_a_row = gate.d_g_row = 2 * inner_;
            block.gate_back(gate, 0, 1);
        }
        keep(u_, bench.u, width_, chunk, rows);
        keep(gated_, bench.gated, inner_, chunk, rows);
        keep(d_m_, bench.d_m, 2 * inner_, chunk, rows);
        keep(d_out_, a_.d_out + at, width_, chunk, rows);
        if (!rows) return;
        multiply(up_, 2 * inner_, width_ / LANES, bench.d_m, rows, bench.sums, bench.u);
        AddNorm norm = norm_of(bench, row);
        norm.d_normed = bench.u, norm.d_sum = a_.d_sum ? a_.d_sum + at : nullptr;
        norm.d_x = a_.d_x + at, norm.d_branch = a_.d_branch + at, norm.d_parts = a_.d_norm + row / CHUNK * a_.width;
        block.add_norm_back(norm, 0, 1);
    }

    const Mlp& a_;
    const int width_, inner_;
    const bool backward_;
    Half *up_, *down_;
    Half *u_ = nullptr, *gated_ = nullptr, *d_m_ = nullptr, *d_out_ = nullptr;  // of all places, packed
    unsigned char* benches_;
    std::ptrdiff_t bench_size_, size_;
};

}  // namespace
}  // namespace escriba

using namespace escriba;

ESCRIBA_API void escriba_mlp_room(const Mlp* mlp, int backward, std::int64_t* bytes) {
    Mlp empty = *mlp;
    empty.room = nullptr;
    *bytes = MlpWork(kernels(Level::PLAIN), empty, backward != 0).room();
}
ESCRIBA_API void escriba_mlp(int level, const Mlp* mlp) { MlpWork(kernels(Level(level)), *mlp, false).forward(); }
ESCRIBA_API void escriba_mlp_back(int level, const Mlp* mlp) { MlpWork(kernels(Level(level)), *mlp, true).backward(); }
