// The plan of a call: see engine_plan.h.
#include "engine_plan.h"

#include <algorithm>

namespace escriba { namespace engine {

namespace {

// Nanoseconds, of a core of 2024; only their proportions matter.
constexpr double WAIT = 400;  // all threads for one another, and for the slowest
constexpr double BEGIN = 25000;  // a thread begun and ended
constexpr double DRAW = 300;  // one symbol drawn
constexpr double ELEMENTWISE = 0.4;  // of one number of a gate
constexpr double BYTES_NEAR = 120;  // of weights read in a nanosecond, from the cache of the core
constexpr double BYTES_FAR = 70;  // and from farther away
constexpr double NEAR = 1 << 20;  // bytes
constexpr double WORTH = 0.8;  // more threads must come down to this share of the time, or they are left to others

constexpr int PLACES = 128;  // that go through a layer at once: the weights are read once for all of them
constexpr int MOST_ROWS = 64;  // of one group
constexpr double MOST_NUMBERS = 1 << 22;  // in the largest array of a call

// Products of two numbers in a nanosecond, by level and precision.
constexpr double RATES[5][3] = {{8, 1, 1}, {50, 25, 50}, {100, 50, 300}, {100, 150, 300}, {100, 800, 1600}};

int level_of(const Kernels& table) {
    for (int level = 4; level > 0; --level)
        if (has_level(Level(level)) && &kernels(Level(level)) == &table) return level;
    return 0;
}

class Costs {
  public:
    Costs(const Network& net, bool writing) : net_(net), writing_(writing), rate_(RATES[level_of(*net.kernels)][int(net.shape.precision)]) {
        const int sizes[] = {4, 2, 1};
        const double bytes = double(net.numbers) * sizes[int(net.shape.precision)];
        reading_ = bytes / (bytes < NEAR ? BYTES_NEAR : BYTES_FAR);
        widest_ = std::max<double>(net.output.rows, std::max(net.gates * net.units, 2 * net.inner));
        if (net.shape.cell == Cell::NGRAM)
            widest_ = std::max<double>(widest_, double(net.entering_width) * (writing ? net.shape.window : 1));
        most_rows = int(std::max(1.0, std::min<double>(MOST_ROWS, MOST_NUMBERS / widest_)));
    }
    int most_rows;  // of one group

    // Steps of so many rows that are done at once.
    int chunk(int rows, std::int64_t steps) const {
        if (writing_) return 1;
        const double room = std::max(1.0, std::min<double>(PLACES, MOST_NUMBERS / widest_) / rows);
        return int(std::max(1.0, std::min<double>(room, double(steps))));
    }
    // One step of so many rows, in chunks, on one thread.
    double step(int rows, int chunk) const {
        const double elementwise = ELEMENTWISE * net_.shape.layers * (net_.gates + (net_.shape.residual ? 4 : 0)) * net_.units;
        const double read = net_.recurrent() ? reading_ : reading_ / chunk;
        return std::max(read, rows * double(net_.numbers) / rate_) + rows * elementwise;
    }
    // The times that a team must wait in a step.
    double waits(int rows, int chunk) const {
        const int layers = net_.shape.layers, again = net_.recurrent() && net_.shape.reset_before ? 2 : 1;
        const double converting = rows * chunk > 4 ? 2 : 1;  // many rows are converted by parts
        const double once = (net_.shape.residual ? layers * (net_.shape.mlp ? 5 : 3) : layers - 1) * converting + 1;
        const double stepwise = net_.recurrent() ? layers * again * (rows > 4 ? 2 : 1) * (chunk > 1 ? 1.0 : again - 1.0) : 0;
        return once / chunk + stepwise;
    }
    double drawing(int rows) const { return writing_ ? DRAW * rows : 0; }

  private:
    const Network& net_;
    const bool writing_;
    const double rate_;
    double reading_, widest_;
};

}  // namespace

Plan plan_of(const Network& net, int threads, Parting parting, std::int64_t rows, std::int64_t steps, bool writing) {
    const Costs costs(net, writing);
    const int group = int(std::min<std::int64_t>(rows, costs.most_rows)), chunk = costs.chunk(group, steps);
    const double groups = double((rows + group - 1) / group), step = costs.step(group, chunk), times = double(steps) * groups;
    Plan best{1, 1, group, chunk};
    double least = parting == Parting::BEST ? WORTH * (step + costs.drawing(group)) * times : 1e300;
    const int blocks = net.units / LANES;
    for (int n = 2; n <= threads; ++n) {
        if (n <= blocks && parting != Parting::BY_ROWS) {
            const double share = double((blocks + n - 1) / n) / blocks, draws = costs.drawing(group > 4 ? (group + n - 1) / n : group);
            const double cost = (step * share + costs.waits(group, chunk) * WAIT + draws) * times + BEGIN * (n - 1) * groups;
            if (cost < least) {
                least = cost;
                best = Plan{1, n, group, chunk};
            }
        }
        if (n <= rows && parting != Parting::BY_UNITS) {
            const std::int64_t rounds = (rows + std::int64_t(n) * costs.most_rows - 1) / (std::int64_t(n) * costs.most_rows);
            const int own = int((rows + n * rounds - 1) / (n * rounds)), its = costs.chunk(own, steps);
            const double cost = (costs.step(own, its) + costs.drawing(own)) * double(rounds) * double(steps) + BEGIN * (n - 1);
            if (cost < least) {
                least = cost;
                best = Plan{n, 1, own, its};
            }
        }
    }
    return best;
}

}}  // namespace escriba::engine
