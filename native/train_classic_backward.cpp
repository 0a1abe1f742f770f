// The loop over time of rnn, gru and lstm backward: from the last step to the first, the elementwise work of the gradient and the product
// that hands it on to the state before.
#include <vector>

#include "export.h"
#include "lanes.h"
#include "train_classic_loop.h"
#include "workers.h"

namespace escriba {
namespace {
namespace f64 {
#include "formulas.inl"
#include "train_classic.inl"
void backward(const ClassicBackward& step) { classic_backward_as<PlainLanes<double>, Wide<PlainLanes<double>>>(step); }
}  // namespace f64

class Backward : ClassicLoop {
  public:
    explicit Backward(const ClassicCall& call) : ClassicLoop(call, true) {
        for (int i = 0; i < threads; ++i) {
            products.emplace_back(std::size_t(std::min(rows, ROWS_AT_ONCE)) * WIDTH * real);
            if (!by_rows && i > 0) continue;
            biases.emplace_back(std::size_t(gates) * hidden * real);
            if (call.d_table) tables.emplace_back(std::size_t(call.symbols) * gates * hidden * real);
        }
    }

    void run() {
        together_with_workers(threads, [this](const Team& team) { run(team, share_of(team)); });
    }

  private:
    static constexpr int AT_ONCE = 6, WIDTH = AT_ONCE * LANES;  // blocks of units whose products are made at a time, and their numbers

    void run(const Team& team, const Share& share) {
        Bytes* y = products[team.number].get();
        weights.pack(team);
        each(share, 1, [&](int unit, int, int row, int n) {
            if (c.size) gather(call.d_last_c, unit, row, n, at(c.get(), near(unit, row), real), LANES);
        });
        for (int t = time - 1; t >= 0; --t) {
            each(share, AT_ONCE, [&](int unit, int count, int row, int n) {
                hand_on(t + 1, unit, count, row, n, y);
                for (int i = 0; i < count; ++i) step(t, unit + i, row, n, at(y, i * LANES, real), by_rows ? team.number : 0);
            });
            meet(team);
        }
        each(share, AT_ONCE, [&](int unit, int count, int row, int n) { end(unit, count, row, n, y); });
        if (by_rows) team.wait();
        gather_sums(team);
    }

    // What the gates of step t send back to the state before it; after the last step, what is asked of the last state.
    void hand_on(int t, int unit, int count, int row, int n, Bytes* y) const {
        for (int i = 0; t == time && i < count; ++i) gather(call.d_last, unit + i, row, n, at(y, i * LANES, real), WIDTH);
        if (t == time) return;
        weights.multiply(kernels, unit, count, n, at(call.d_gates, placed(t, row, 0, gates_row), stored), gates_row, y, WIDTH, nullptr);
    }

    void step(int t, int unit, int row, int n, const Bytes* y, int number) {
        ClassicBackward p{};
        p.cell = cell;
        p.narrow = narrow;
        p.rows = n;
        p.product = y;
        p.product_row = WIDTH;
        p.d_output = at(call.d_outputs, row * call.d_output_row + t * call.d_output_time + unit * LANES, stored);
        p.d_output_row = call.d_output_row;
        if (keeps) {
            p.kept = at(call.kept, kept(t + 1, unit, row), stored);
            p.kept_before = at(call.kept, kept(t, unit, row), stored);
        }
        p.state = at(call.states, placed(t + 1, row, unit, states_row), stored);
        p.state_before = at(call.states, placed(t, row, unit, states_row), stored);
        p.state_row = states_row;
        p.d_h = at(h.get(), near(unit, row), real);
        p.d_c = c.size ? at(c.get(), near(unit, row), real) : nullptr;
        p.d_gates = at(call.d_gates, placed(t, row, unit, gates_row), stored);
        p.d_gates_row = gates_row;
        p.d_gate = hidden;
        p.d_x = at(call.d_x, row * call.d_x_row + t * call.d_x_time + unit * LANES, stored);
        p.d_x_row = call.d_x_row;
        p.d_table = call.d_table ? at(tables[number].get(), placed_symbol(unit, 0), real) : nullptr;
        p.ids = call.ids ? call.ids + row * call.ids_row + t * call.ids_time : nullptr;
        p.ids_row = call.ids_row;
        p.d_bias = at(biases[number].get(), unit * gates * LANES, real);
        if (numbers == Numbers::F64) f64::backward(p);
        else kernels.classic_backward(p);
    }

    // The gradient of the state before the first step.
    void end(int unit, int count, int row, int n, Bytes* y) const {
        if (call.d_first) hand_on(0, unit, count, row, n, y);
        for (int i = 0; i < count; ++i) {
            if (call.d_first_c) scatter(at(c.get(), near(unit + i, row), real), unit + i, row, n, call.d_first_c);
            for (int j = 0; call.d_first && j < n; ++j) {
                Bytes* d = at(y, j * WIDTH + i * LANES, real);
                add(at(h.get(), near(unit + i, row + j), real), d, LANES);
                scatter(d, unit + i, row + j, 1, call.d_first);
            }
        }
    }

    // Adds up what threads with rows of their own summed, and puts the sums in their order.
    void gather_sums(const Team& team) {
        for (int unit = team.from(units); unit < team.to(units); ++unit) {
            turn(biases, unit * gates * LANES, unit, call.d_bias);
            for (int symbol = 0; call.d_table && symbol < call.symbols; ++symbol)
                turn(tables, placed_symbol(unit, symbol), unit, at(call.d_table, std::ptrdiff_t(symbol) * gates * hidden, real));
        }
    }
    void turn(const std::vector<Buffer<Bytes>>& sums, std::ptrdiff_t index, int unit, void* to) const {
        for (std::size_t i = 1; i < sums.size(); ++i) add(at(sums[i].get(), index, real), at(sums[0].get(), index, real), gates * LANES);
        for (int gate = 0; gate < gates; ++gate)
            std::memcpy(at(to, gate * hidden + unit * LANES, real), at(sums[0].get(), index + gate * LANES, real),
                        std::size_t(LANES * real));
    }

    std::vector<Buffer<Bytes>> products;
    std::vector<Buffer<Bytes>> biases;  // of every thread that has rows of its own, or of all: (units, gates, 16)
    std::vector<Buffer<Bytes>> tables;  // the same: (units, symbols, gates, 16)
};

}  // namespace
}  // namespace escriba

// Fills d_gates, d_x, d_bias, d_table, d_first and d_first_c; 1: no memory.
ESCRIBA_API int escriba_classic_backward(const escriba::ClassicCall* call) {
    try {
        escriba::Backward(*call).run();
        return 0;
    } catch (...) {
        return 1;
    }
}
