// The loop over time of rnn, gru and lstm forward: at every step the product of the state and its elementwise work.
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
using V = PlainLanes<double>;
void forward(const ClassicForward& step) { classic_forward_as<V, Wide<V>, Wide<V>>(step); }
}  // namespace f64

class Forward : ClassicLoop {
  public:
    explicit Forward(const ClassicCall& call)
        : ClassicLoop(call, false), at_once(gates == 1 ? 6 : gates == 4 ? 3 : 1), width(at_once * gates * LANES),
          bias(call.bias ? std::size_t(gates) * hidden * real : 0),
          table(call.ids ? std::size_t(call.symbols) * gates * hidden * real : 0) {
        for (int i = 0; i < threads; ++i) products.emplace_back(std::size_t(std::min(rows, ROWS_AT_ONCE)) * width * real);
    }

    void run() {
        together_with_workers(threads, [this](const Team& team) { run(team, share_of(team)); });
    }

  private:
    void run(const Team& team, const Share& share) {
        for (int unit = team.from(units); unit < team.to(units); ++unit) {
            if (call.bias) turn(call.bias, unit, at(bias.get(), unit * gates * LANES, real));
            for (int symbol = 0; call.ids && symbol < call.symbols; ++symbol)
                turn(at(call.x, symbol * call.x_row, real), unit, at(table.get(), placed_symbol(unit, symbol), real));
        }
        weights.pack(team);
        each(share, 1, [&](int unit, int, int row, int n) { begin(unit, row, n); });
        meet(team);
        for (int t = 0; t < time; ++t) {
            each(share, at_once, [&](int unit, int count, int row, int n) { step(t, unit, count, row, n, products[team.number].get()); });
            meet(team);
        }
        each(share, 1, [&](int unit, int, int row, int n) {
            scatter(at(h.get(), near(unit, row), real), unit, row, n, call.last);
            if (cell == ClassicCell::LSTM) scatter(at(c.get(), near(unit, row), real), unit, row, n, call.last_c);
        });
    }

    void turn(const void* from, int unit, Bytes* to) const {
        for (int gate = 0; gate < gates; ++gate)
            std::memcpy(at(to, gate * LANES, real), at(from, gate * hidden + unit * LANES, real), std::size_t(LANES * real));
    }

    void begin(int unit, int row, int n) {
        Bytes* of_h = at(h.get(), near(unit, row), real);
        gather(call.first, unit, row, n, of_h, LANES);
        for (int i = 0; i < n; ++i) store(of_h + i * LANES * real, at(call.states, placed(0, row + i, unit, states_row), stored));
        if (cell != ClassicCell::LSTM) return;
        Bytes* of_c = at(c.get(), near(unit, row), real);
        gather(call.first_c, unit, row, n, of_c, LANES);
        for (int i = 0; call.keep && i < n; ++i)
            store(of_c + i * LANES * real, at(call.kept, kept(0, unit, row + i) + (keeps - 1) * LANES, stored));
    }

    // Step t of `count` blocks of units and n rows.
    void step(int t, int unit, int count, int row, int n, Bytes* y) {
        const int before = call.keep ? t : t % 2, after = call.keep ? t + 1 : (t + 1) % 2;
        for (int i = unit; i < unit + count; ++i) {
            fetch(at(h.get(), near(i, row), real), n * LANES * real);
            for (int j = row; call.ids && j < row + n; ++j)
                fetch(at(table.get(), placed_symbol(i, int(call.ids[j * call.ids_row + t * call.ids_time])), real),
                      gates * LANES * real);
        }
        const Bytes* x = at(call.states, placed(before, row, 0, states_row), stored);
        weights.multiply(kernels, unit * gates, count * gates, n, x, states_row, y, width,
                         call.bias ? at(bias.get(), unit * gates * LANES, real) : nullptr);
        for (int i = 0; i < count; ++i, ++unit) {
            ClassicForward p{};
            p.cell = cell;
            p.narrow = narrow;
            p.rows = n;
            p.product = at(y, i * gates * LANES, real);
            p.product_row = width;
            p.ids = call.ids ? call.ids + row * call.ids_row + t * call.ids_time : nullptr;
            p.ids_row = call.ids_row;
            p.x = call.ids ? at(table.get(), placed_symbol(unit, 0), real)
                           : at(call.x, row * call.x_row + t * call.x_time + unit * LANES, stored);
            p.x_row = call.ids ? gates * LANES : call.x_row;
            p.x_gate = call.ids ? LANES : hidden;
            p.h = at(h.get(), near(unit, row), real);
            p.c = c.size ? at(c.get(), near(unit, row), real) : nullptr;
            p.state = at(call.states, placed(after, row, unit, states_row), stored);
            p.state_row = states_row;
            p.output = at(call.outputs, row * call.output_row + t * call.output_time + unit * LANES, stored);
            p.output_row = call.output_row;
            p.kept = keeps && call.keep ? at(call.kept, kept(t + 1, unit, row), stored) : nullptr;
            if (numbers == Numbers::F64) f64::forward(p);
            else kernels.classic_forward(p);
        }
    }

    const int at_once, width;  // blocks of units whose products are made at a time, and their numbers
    Buffer<Bytes> bias;        // a unit's gates beside one another, as the products are
    Buffer<Bytes> table;       // the same of the input's products (units, symbols, gates, 16)
    std::vector<Buffer<Bytes>> products;
};

}  // namespace
}  // namespace escriba

// Fills outputs, last, last_c, states and kept; 1: no memory.
ESCRIBA_API int escriba_classic_forward(const escriba::ClassicCall* call) {
    try {
        escriba::Forward(*call).run();
        return 0;
    } catch (...) {
        return 1;
    }
}
