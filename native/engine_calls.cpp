// What Python calls of the engine: a model made and freed; rows run with logits, with log-probabilities, or writing by themselves.
//
// All arguments were checked by escriba/engine/native.py. A call has its own memory and its own threads: any number may run at once.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <memory>

#include "engine_plan.h"
#include "engine_run.h"
#include "export.h"
#include "sampling.h"

namespace escriba { namespace engine { namespace {

enum Status : int { GOOD = 0, NO_MEMORY = 1, LOGITS_NOT_FINITE = 2, EVERYTHING_BANNED = 3 };

struct Call {
    const Network& net;
    std::int64_t rows, steps;
    const float* const* before;
    float* const* after;
    std::atomic<int> status{GOOD};
};

// Runs all rows, as the plan says; work(run, team, first row) is done by every thread of a team.
template <class Work>
int execute(Call& call, const Plan& plan, Work work) {
    const std::int64_t groups = (call.rows + plan.rows - 1) / plan.rows;
    auto rows_of = [&](std::int64_t group) { return int(std::min<std::int64_t>(plan.rows, call.rows - group * plan.rows)); };
    if (plan.teams > 1) {  // every thread by itself, one group of rows after the other
        std::vector<std::unique_ptr<Run>> runs;
        for (int number = 0; number < plan.teams; ++number) runs.push_back(std::make_unique<Run>(call.net, plan.rows, plan.steps, 1));
        std::atomic<std::int64_t> next{0};
        together(plan.teams, [&](const Team& team) {
            Barrier none(1);
            Run& run = *runs[team.number];
            for (std::int64_t group; (group = next.fetch_add(1)) < groups;) {
                run.load(call.before, group * plan.rows, rows_of(group));
                work(run, Team{0, 1, &none}, group * plan.rows);
                run.store(call.after, group * plan.rows);
            }
        });
        return call.status;
    }
    Run run(call.net, plan.rows, plan.steps, plan.threads);
    for (std::int64_t group = 0; group < groups; ++group) {
        run.load(call.before, group * plan.rows, rows_of(group));
        together(plan.threads, [&](const Team& team) { work(run, team, group * plan.rows); });
        run.store(call.after, group * plan.rows);
    }
    return call.status;
}

// All steps of some rows, in chunks; deal(pass, first step, steps) does what is wanted after each, and must wait for the team once.
template <class Deal>
void in_chunks(const Call& call, Run& run, const Team& team, std::int64_t first, const std::int64_t* ids, Deal deal) {
    std::int64_t* own = run.own[team.number].ids.get();
    int turn = 0;
    for (std::int64_t from = 0; from < call.steps; from += run.steps, turn = 1 - turn) {
        const int steps = int(std::min<std::int64_t>(run.steps, call.steps - from));
        for (int b = 0; b < run.rows; ++b)
            for (int t = 0; t < steps; ++t) own[t * run.rows + b] = ids[(first + b) * call.steps + from + t];
        Pass pass(run, team, turn, steps, own);
        pass.run();
        deal(pass, from);
    }
    if (team.number == 0) run.turn = 1 - turn;
}

template <class Work>
int guarded(Work work) {
    try {
        return work();
    } catch (const std::exception&) {
        return NO_MEMORY;
    }
}

}  // namespace

}}  // namespace escriba::engine

using namespace escriba;
using namespace escriba::engine;

// shape: cell, activation, reset before, vocabulary, embedding, codes, hidden, layers, tied, window, residual, conv, mlp, precision.
// Gives nullptr where there is no memory for it.
ESCRIBA_API void* escriba_engine_make(int level, const std::int32_t* shape, int count, const char* const* names, const float* const* data,
                                      std::int64_t table_bytes) {
    try {
        const std::int32_t* s = shape;
        const Shape given{Cell(s[0]), Activation(s[1]), s[2] != 0, s[3],       s[4],  s[5] != 0, s[6],
                          s[7],       s[8] != 0,        s[9],      s[10] != 0, s[11], s[12],     Precision(s[13])};
        return new Network(build(given, Tensors{names, data, count}, kernels(Level(level)), table_bytes));
    } catch (const std::exception&) {
        return nullptr;
    }
}

ESCRIBA_API void escriba_engine_free(void* engine) { delete static_cast<Network*>(engine); }

// threads: at most so many; parting: 0, or another way to part the work, for tests (engine_plan.h).
// logits (rows, steps, V), or nullptr: only the state is wanted. before, after: the arrays of the state, layer by layer.
ESCRIBA_API int escriba_engine_advance(const void* engine, int threads, int parting, std::int64_t rows, std::int64_t steps,
                                       const std::int64_t* ids, const float* const* before, float* const* after, float* logits) {
    return guarded([&] {
        const Network& net = *static_cast<const Network*>(engine);
        Call call{net, rows, steps, before, after};
        const Plan plan = plan_of(net, threads, Parting(parting), rows, steps, false);
        return execute(call, plan, [&](Run& run, const Team& team, std::int64_t first) {
            in_chunks(call, run, team, first, ids, [&](Pass& pass, std::int64_t from) {
                if (!logits) return pass.settle();
                const Logits made = pass.output();
                for (int n = made.first; n < made.last && made.mine; ++n) {
                    const float* row = made.rows + std::ptrdiff_t(n - made.first) * run.logits_width();
                    std::copy(row, row + net.shape.vocab,
                              logits + ((first + n % run.rows) * steps + from + n / run.rows) * net.shape.vocab);
                }
            });
        });
    });
}

// How likely each target was: log_probs (rows, steps), and ranks of the same shape, or nullptr.
ESCRIBA_API int escriba_engine_read(const void* engine, int threads, int parting, std::int64_t rows, std::int64_t steps,
                                    const std::int64_t* ids, const std::int64_t* targets, const float* const* before, float* const* after,
                                    double* log_probs, std::int64_t* ranks) {
    return guarded([&] {
        const Network& net = *static_cast<const Network*>(engine);
        Call call{net, rows, steps, before, after};
        const Plan plan = plan_of(net, threads, Parting(parting), rows, steps, false);
        return execute(call, plan, [&](Run& run, const Team& team, std::int64_t first) {
            in_chunks(call, run, team, first, ids, [&](Pass& pass, std::int64_t from) {
                const Logits made = pass.output();
                for (int n = made.first; n < made.last && made.mine; ++n) {
                    const float* row = made.rows + std::ptrdiff_t(n - made.first) * run.logits_width();
                    const std::int64_t at = (first + n % run.rows) * steps + from + n / run.rows, target = targets[at];
                    float largest;
                    const double sum = net.kernels->engine->sum_exp(row, run.logits_width(), &largest);
                    if (!std::isfinite(sum) || !std::isfinite(largest)) call.status = LOGITS_NOT_FINITE;
                    log_probs[at] = double(row[target]) - double(largest) - std::log(sum);
                    if (!ranks) continue;
                    std::int32_t ahead = 1;
                    for (int v = 0; v < net.shape.vocab; ++v) ahead += row[v] > row[target];
                    for (int v = 0; v < int(target); ++v) ahead += row[v] == row[target];
                    ranks[at] = ahead;
                }
            });
        });
    });
}

// Writes `steps` symbols a row. start (rows): what each has not yet read; how: a way to draw for each row; uniforms, ids, log_probs:
// (rows, steps).
ESCRIBA_API int escriba_engine_write(const void* engine, int threads, int parting, std::int64_t rows, std::int64_t steps,
                                     const std::int64_t* start, const Draw* how, const double* uniforms, const float* const* before,
                                     float* const* after, std::int64_t* ids, double* log_probs) {
    return guarded([&] {
        const Network& net = *static_cast<const Network*>(engine);
        Call call{net, rows, steps, before, after};
        const Plan plan = plan_of(net, threads, Parting(parting), rows, steps, true);
        return execute(call, plan, [&](Run& run, const Team& team, std::int64_t first) {
            Run::Own& own = run.own[team.number];
            std::copy(start + first, start + first + run.rows, own.ids.get());
            int turn = 0;
            for (std::int64_t t = 0; t < steps; ++t, turn = 1 - turn) {
                Pass pass(run, team, turn, 1, own.ids.get());
                pass.run();
                const Logits made = pass.output();
                for (int b = made.first; b < made.last; ++b) {
                    const float* row = made.rows + std::ptrdiff_t(b - made.first) * run.logits_width();
                    const std::int64_t at = (first + b) * steps + t;
                    double log_prob = 0;
                    std::int64_t drawn = draw(row, net.shape.vocab, how[first + b], uniforms[at], &log_prob, own.draws);
                    if (drawn < 0) {  // told at the end: nobody leaves while others wait for him
                        call.status = drawn == ALL_BANNED ? EVERYTHING_BANNED : LOGITS_NOT_FINITE;
                        drawn = 0;
                    }
                    own.ids[b] = drawn;
                    if (!made.mine) continue;
                    ids[at] = drawn;
                    log_probs[at] = log_prob;
                }
                if (made.last - made.first == run.rows) continue;  // every thread has drawn for all rows
                team.wait();
                for (int b = 0; b < run.rows; ++b) own.ids[b] = ids[(first + b) * steps + t];
            }
            if (team.number == 0) run.turn = 1 - turn;
        });
    });
}
