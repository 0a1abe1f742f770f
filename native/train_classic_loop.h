// What the loops forward and backward share: the arrays of a call, who does what of them, and how they are met.
//
// Threads share the units, and meet after every step; where each holds all weights in its own cache they share the rows, which need
// nothing of one another, and do not meet. It knows nothing of the equations.
#pragma once
#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <cstring>

#include "train_classic_weights.h"

namespace escriba {

// The arrays of a call. B rows, T symbols, H units, G gates; K(n): n padded to a multiple of 64. Strides are in numbers.
struct ClassicCall {
    std::int64_t level, cell, numbers, threads, rows, time, hidden;
    std::int64_t keep;                     // whether states and kept are for a way back
    const void* x;                         // the input's product: stored (B, T, G H); with ids real, (symbols, G H)
    std::int64_t x_row, x_time;
    const std::int64_t* ids;               // (B, T), or none
    std::int64_t ids_row, ids_time;
    const void* weight;                    // real (G H, H)
    const void* bias;                      // real (G H), of the recurrent product; or none
    const void* first;                     // real (B, H): the state before; and lstm's c
    const void* first_c;
    void* last;                            // the same after
    void* last_c;
    void* states;                          // stored (T + 1, B, K(H)), or (2, B, K(H)) where nothing is kept; zeros beyond H
    void* kept;                            // stored (T + 1, H / 16, B, kept_of, 16), or none
    void* outputs;                         // stored (B, T, H)
    std::int64_t output_row, output_time;
    const void* d_outputs;                 // stored (B, T, H), or none
    std::int64_t d_output_row, d_output_time;
    const void* d_last;                    // real (B, H), or none
    const void* d_last_c;
    void* d_gates;                         // stored (T, B, K(G H)); zeros beyond G H
    void* d_x;                             // stored (B, T, G H), or none
    std::int64_t d_x_row, d_x_time;
    void* d_table;                         // real (symbols, G H), or none
    std::int64_t symbols;
    void* d_bias;                          // real (G H)
    void* d_first;                         // real (B, H), or none
    void* d_first_c;
};

using Bytes = unsigned char;

class ClassicLoop {
  protected:
    ClassicLoop(const ClassicCall& call, bool backward)
        : call(call), kernels(escriba::kernels(Level(call.level))), cell(ClassicCell(call.cell)), numbers(Numbers(call.numbers)),
          narrow(numbers == Numbers::BF16), gates(gates_of(cell)), keeps(kept_of(cell)), rows(int(call.rows)), time(int(call.time)),
          hidden(int(call.hidden)), units(hidden / LANES), stored(bytes_stored(numbers)), real(bytes_real(numbers)),
          weights(call.weight, gates, hidden, backward, numbers),
          by_rows(weights.bytes() <= BYTES_OF_A_CACHE && call.rows >= LEAST_ROWS_OF_A_THREAD * call.threads),
          threads(std::max(1, by_rows ? int(call.threads) : std::min(int(call.threads), units))),
          states_row(padded(hidden)), gates_row(padded(gates * hidden)), h(std::size_t(rows) * hidden * real),
          c(cell == ClassicCell::LSTM ? h.size : 0) {}

    static constexpr int ROWS_AT_ONCE = 64;                      // whose products stay near until the elementwise work
    static constexpr std::size_t BYTES_OF_A_CACHE = 512 * 1024;  // of weights that a thread keeps near itself
    static constexpr int LEAST_ROWS_OF_A_THREAD = 4;

    struct Share { int first_unit, last_unit, first_row, last_row; };  // what a thread does of every step; units in blocks of 16
    Share share_of(const Team& team) const {
        return by_rows ? Share{0, units, team.from(rows), team.to(rows)} : Share{team.from(units), team.to(units), 0, rows};
    }
    void meet(const Team& team) const {
        if (!by_rows) team.wait();
    }

    // Calls work(unit, units, row, rows) for groups of both that make up a share.
    template <class Work>
    static void each(const Share& share, int units_at_once, Work&& work) {
        for (int unit = share.first_unit; unit < share.last_unit; unit += units_at_once)
            for (int row = share.first_row; row < share.last_row; row += ROWS_AT_ONCE)
                work(unit, std::min(units_at_once, share.last_unit - unit), row, std::min(ROWS_AT_ONCE, share.last_row - row));
    }

    // Where numbers of so many bytes stand.
    static Bytes* at(void* base, std::ptrdiff_t index, int size) { return base ? static_cast<Bytes*>(base) + index * size : nullptr; }
    static const Bytes* at(const void* base, std::ptrdiff_t index, int size) {
        return base ? static_cast<const Bytes*>(base) + index * size : nullptr;
    }
    // Of a unit and a row in arrays (units, rows, 16) and (rows, hidden), in `kept`, and in one with a row for each place.
    std::ptrdiff_t near(int unit, int row) const { return (std::ptrdiff_t(unit) * rows + row) * LANES; }
    std::ptrdiff_t flat(int unit, int row) const { return std::ptrdiff_t(row) * hidden + unit * LANES; }
    std::ptrdiff_t kept(int slot, int unit, int row) const { return (std::ptrdiff_t(slot) * rows * hidden + near(unit, row)) * keeps; }
    std::ptrdiff_t placed(int t, int row, int unit, std::ptrdiff_t width) const {
        return (std::ptrdiff_t(t) * rows + row) * width + unit * LANES;
    }

    // In a table (units, symbols, gates, 16): so what a unit needs of all symbols lies together.
    std::ptrdiff_t placed_symbol(int unit, int symbol) const { return (unit * std::ptrdiff_t(call.symbols) + symbol) * gates * LANES; }

    // Asks for what is needed after a product while that is made: bytes from an address on.
    static void fetch(const void* from, std::ptrdiff_t bytes) {
#if defined(__x86_64__) || defined(_M_X64)
        for (std::ptrdiff_t i = 0; i < bytes; i += 64) _mm_prefetch(static_cast<const char*>(from) + i, _MM_HINT_T1);
#else
        (void)from, (void)bytes;
#endif
    }

    // A block of units and some rows, from (rows, hidden) to (rows, 16) and back; zeros where there is none.
    void gather(const void* from, int unit, int row, int n, Bytes* to, std::ptrdiff_t to_row) const {
        for (int i = 0; i < n; ++i, to += to_row * real) {
            if (from) std::memcpy(to, at(from, flat(unit, row + i), real), std::size_t(LANES * real));
            else std::memset(to, 0, std::size_t(LANES * real));
        }
    }
    void scatter(const Bytes* from, int unit, int row, int n, void* to) const {
        for (int i = 0; i < n; ++i) std::memcpy(at(to, flat(unit, row + i), real), from + i * LANES * real, std::size_t(LANES * real));
    }
    void store(const Bytes* from, Bytes* to) const {  // 16 real numbers as stored ones
        if (narrow) kernels.to_bf16(reinterpret_cast<const float*>(from), reinterpret_cast<std::uint16_t*>(to), LANES);
        else std::memcpy(to, from, std::size_t(LANES * real));
    }
    void add(const Bytes* from, Bytes* to, std::ptrdiff_t n) const {
        if (numbers == Numbers::F64) add_as<double>(from, to, n);
        else add_as<float>(from, to, n);
    }
    template <class Real>
    static void add_as(const Bytes* from, Bytes* to, std::ptrdiff_t n) {
        const Real* x = reinterpret_cast<const Real*>(from);
        Real* y = reinterpret_cast<Real*>(to);
        for (std::ptrdiff_t i = 0; i < n; ++i) y[i] += x[i];
    }

    const ClassicCall& call;
    const Kernels& kernels;
    const ClassicCell cell;
    const Numbers numbers;
    const bool narrow;
    const int gates, keeps, rows, time, hidden, units, stored, real;
    ClassicWeights weights;
    const bool by_rows;
    const int threads;
    const std::ptrdiff_t states_row, gates_row;
    Buffer<Bytes> h, c;  // real (units, rows, 16): forward the state, backward its gradient beside the product
};

}  // namespace escriba
