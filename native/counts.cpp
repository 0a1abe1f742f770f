// The functions of counts.h, and what Python calls. Sums and products are made in the order of the reference.
#include "counts.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <new>

#include "export.h"
#include "sampling.h"
#include "threads.h"

namespace escriba {
namespace {

// The child of a node by its symbol; -1 where there is none.
inline std::int64_t child(const CountsModel& m, std::int64_t node, std::int64_t symbol) {
    const std::int64_t *from = m.symbols + m.children[node], *end = m.symbols + m.children[node + 1];
    const std::int64_t* at = std::lower_bound(from, end, symbol);
    return at != end && *at == symbol ? at - m.symbols + 1 : -1;
}

// The contexts within a context, the longest first, the root not among them; gives how many.
inline int chain(const CountsModel& m, std::int64_t node, std::int64_t* contexts) {
    int count = 0;
    for (; node != 0 && count < MOST_LEVELS; node = m.suffix[node]) contexts[count++] = node;
    return count;
}

}  // namespace

std::int64_t counts_next(const CountsModel& m, std::int64_t node, std::int64_t symbol) {
    for (;; node = m.suffix[node]) {
        const std::int64_t longer = child(m, node, symbol);
        // what nothing ever followed is no context; the longest n-grams are such by themselves
        if (longer >= 0 && m.children[longer + 1] > m.children[longer]) return longer;
        if (node == 0) return 0;
    }
}

double counts_log_prob(const CountsModel& m, std::int64_t node, std::int64_t symbol) {
    std::int64_t contexts[MOST_LEVELS];
    const int count = chain(m, node, contexts);
    int at = 0;  // the longest context after which the symbol was seen
    std::int64_t found = -1;
    while (at < count && (found = child(m, contexts[at], symbol)) < 0) ++at;
    if (found < 0) found = child(m, 0, symbol);
    double prob = found < 0 ? m.gamma[0] / double(m.vocab) : m.prob[found - 1];
    while (at > 0) prob *= m.gamma[contexts[--at]];
    return std::log(prob);
}

void counts_log_probs(const CountsModel& m, std::int64_t node, double* p) {
    std::int64_t contexts[MOST_LEVELS];
    int count = chain(m, node, contexts);
    std::copy(m.root, m.root + m.vocab, p);
    while (count > 0) {
        const std::int64_t context = contexts[--count];
        const double gamma = m.gamma[context];
        for (std::int64_t symbol = 0; symbol < m.vocab; ++symbol) p[symbol] *= gamma;
        for (std::int64_t key = m.children[context]; key < m.children[context + 1]; ++key) p[m.symbols[key]] += m.share[key];
    }
    for (std::int64_t symbol = 0; symbol < m.vocab; ++symbol) p[symbol] = std::log(p[symbol]);
}

}  // namespace escriba

using escriba::CountsModel;

namespace {

constexpr int GOOD = 0, NO_MEMORY = 1;

// Does work(row, scratch) for every row, on several threads where there are several rows.
template <class Work>
int each_row(std::int64_t rows, int threads, const Work& work) {
    std::atomic<int> status{GOOD};
    try {
        escriba::together(int(std::min<std::int64_t>(threads, rows)), [&](const escriba::Team& team) {
            try {
                escriba::Scratch scratch;
                const std::int64_t to = rows * (team.number + 1) / team.size;
                for (std::int64_t row = rows * team.number / team.size; row < to && status == GOOD; ++row) work(row, scratch);
            } catch (const std::bad_alloc&) {
                status = NO_MEMORY;
            }
        });
    } catch (const std::bad_alloc&) {
        return NO_MEMORY;
    }
    return status;
}

}  // namespace

// The log-probabilities (rows, steps, vocab) after each symbol, where they are wanted, and the last nodes (rows).
ESCRIBA_API int escriba_counts_advance(const CountsModel* model, int threads, std::int64_t rows, std::int64_t steps,
                                       const std::int64_t* ids, const std::int64_t* before, std::int64_t* after, double* log_probs) {
    return each_row(rows, threads, [=](std::int64_t row, escriba::Scratch&) {
        std::int64_t node = before[row];
        for (std::int64_t at = row * steps; at < (row + 1) * steps; ++at) {
            node = escriba::counts_next(*model, node, ids[at]);
            if (log_probs) escriba::counts_log_probs(*model, node, log_probs + at * model->vocab);
        }
        after[row] = node;
    });
}

// The log-probability (rows, steps) of the target that comes after each symbol, and the last nodes (rows).
ESCRIBA_API int escriba_counts_read(const CountsModel* model, int threads, std::int64_t rows, std::int64_t steps,
                                    const std::int64_t* ids, const std::int64_t* targets, const std::int64_t* before,
                                    std::int64_t* after, double* log_probs) {
    return each_row(rows, threads, [=](std::int64_t row, escriba::Scratch&) {
        std::int64_t node = before[row];
        for (std::int64_t at = row * steps; at < (row + 1) * steps; ++at) {
            node = escriba::counts_next(*model, node, ids[at]);
            log_probs[at] = escriba::counts_log_prob(*model, node, targets[at]);
        }
        after[row] = node;
    });
}

// Writes `steps` symbols a row, as Engine.write does; an id below 0 says what was wrong in that row (sampling.h), which then ends.
ESCRIBA_API int escriba_counts_write(const CountsModel* model, int threads, std::int64_t rows, std::int64_t steps,
                                     const std::int64_t* start, const escriba::Draw* draws, const double* uniforms,
                                     const std::int64_t* before, std::int64_t* after, std::int64_t* ids, double* log_probs) {
    return each_row(rows, threads, [=](std::int64_t row, escriba::Scratch& scratch) {
        scratch.logits.resize(std::size_t(model->vocab));
        std::int64_t node = before[row], id = start[row];
        for (std::int64_t at = row * steps; at < (row + 1) * steps && id >= 0; ++at) {
            node = escriba::counts_next(*model, node, id);
            escriba::counts_log_probs(*model, node, scratch.logits.data());
            id = ids[at] = escriba::draw(scratch.logits.data(), model->vocab, draws[row], uniforms[at], log_probs + at, scratch);
        }
        after[row] = node;
    });
}
