// The residual block's elementwise work in learning, forward and backward: what is given to it, and the table of its functions.
//
// Numbers of the stream, of weights and of states are "real": float, or double where gradients are checked. Numbers of a branch, which
// go into products and come out of them, are bfloat16 where `bf16` says so, else real. Every array's last dimension lies together; a
// stride is told in numbers. Sums over rows are made in parts whose number does not depend on the threads, so results do not either.
// It knows nothing of Python, products or threads. Every field is 8 bytes wide, so that other languages can write these records.
#pragma once
#include <cstddef>
#include <cstdint>

namespace escriba {

constexpr std::int64_t ROWS_A_TASK = 64;   // of work whose rows are independent
constexpr std::int64_t UNITS_A_TASK = 64;  // of work that goes through time: a row's units are told apart
constexpr std::int64_t TIMES_A_MARK = 16;  // of the scan, which keeps its state every so many times and makes the others anew

inline std::int64_t parts_of(std::int64_t n, std::int64_t size) { return (n + size - 1) / size; }

// sum = x + dropped(branch); normed = sum * inverse * weight, inverse = 1 / sqrt(mean(sum^2) + 1e-6)
struct AddNorm {
    std::int64_t bf16, rows, width;
    std::int64_t before;  // rows of the same draws that stand before these
    std::uint64_t seed;   // of what is dropped
    double share;         // of the branch's numbers that are dropped; 0: none
    const void* x;        // real (rows, width)
    const void* branch;   // branch's (rows, width), or null: sum is x, and is not written
    const void* weight;   // real (width)
    void* sum;            // real (rows, width); backward reads it
    void* normed;         // branch's (rows, width)
    void* inverse;        // real (rows); backward reads it
    const void* d_sum;    // real, or null: zeros
    const void* d_normed; // branch's
    void* d_x;            // real
    void* d_branch;       // branch's, or null
    void* d_parts;        // real (parts of ROWS_A_TASK rows, width): of the weight
    std::int64_t tasks() const { return parts_of(rows, ROWS_A_TASK); }
};

// c(t) = bias + sum over j of weight(j) * v(t - taps + 1 + j); before the first time the tail stands
struct CausalConv {
    std::int64_t bf16, rows, times, width, taps;
    const void* v;        // branch's (rows, times, width)
    std::int64_t v_row, v_time;
    const void* tail;     // real (rows, taps - 1, width)
    const void* weight;   // real (taps, width)
    const void* bias;     // real (width)
    void* c;              // branch's (rows, times, width), all together
    const void* d_c;      // branch's, all together
    void* d_v;            // branch's
    std::int64_t d_v_row, d_v_time;
    void* d_tail;         // real (rows, taps - 1, width)
    void* d_parts;        // real (rows, taps + 1, width): of the weight, then of the bias
    std::int64_t tasks() const { return rows * parts_of(width, UNITS_A_TASK); }
};

// z, n = sigmoid(p_z + bias_z), p_n + bias_n; h = h + z (n - h); y = h silu(g)
struct GatedScan {
    std::int64_t bf16, rows, times, width;
    const void* p;        // branch's (rows, times, 2 width): z, then n
    std::int64_t p_row, p_time;
    const void* bias;     // real (2 width)
    const void* start;    // real (rows, width): h before the first time
    const void* g;        // branch's (rows, times, width)
    std::int64_t g_row, g_time;
    void* y;              // branch's (rows, times, width), all together
    void* last;           // real (rows, width): h after the last time
    void* marks;          // real (rows, parts of TIMES_A_MARK times, width): h before each part; null: not kept
    const void* d_y;      // branch's, all together
    const void* d_last;   // real, or null: zeros
    void* d_p;            // branch's, all together
    void* d_start;        // real
    void* d_g;            // branch's
    std::int64_t d_g_row, d_g_time;
    void* d_parts;        // real (rows, 2 width): of the bias
    std::int64_t tasks() const { return rows * parts_of(width, UNITS_A_TASK); }
};

// y = a silu(g)
struct Gate {
    std::int64_t bf16, rows, width;
    const void* a;        // branch's (rows, width); so all
    std::int64_t a_row;
    const void* g;
    std::int64_t g_row;
    void* y;              // all together; backward makes it again where it is not null
    const void* d_y;      // all together
    void* d_a;
    std::int64_t d_a_row;
    void* d_g;
    std::int64_t d_g_row;
    std::int64_t tasks() const { return parts_of(rows, ROWS_A_TASK); }
};

// y = x, but zero in a share of its places, and larger by as much in the others; the same places for the same seed
struct Drop {
    std::int64_t bf16, rows, width;
    std::uint64_t seed;
    double share;
    const void* x;        // branch's (rows, width)
    void* y;
    std::int64_t tasks() const { return parts_of(rows, ROWS_A_TASK); }
};

// Each does the tasks first to last - 1.
struct BlockKernels {
    void (*add_norm)(const AddNorm&, std::int64_t first, std::int64_t last);
    void (*add_norm_back)(const AddNorm&, std::int64_t first, std::int64_t last);
    void (*causal_conv)(const CausalConv&, std::int64_t first, std::int64_t last);
    void (*causal_conv_back)(const CausalConv&, std::int64_t first, std::int64_t last);
    void (*gated_scan)(const GatedScan&, std::int64_t first, std::int64_t last);
    void (*gated_scan_back)(const GatedScan&, std::int64_t first, std::int64_t last);
    void (*gate)(const Gate&, std::int64_t first, std::int64_t last);
    void (*gate_back)(const Gate&, std::int64_t first, std::int64_t last);
    void (*drop)(const Drop&, std::int64_t first, std::int64_t last);
};

}  // namespace escriba
