// The residual block's elementwise work, as Python calls it: shared out among threads, in float, bfloat16 or double.
//
// It knows nothing of what is computed (train_block.inl) nor of gradients' bookkeeping (Python).
#include "train_block.h"

#include "export.h"
#include "kernels.h"
#include "lanes.h"
#include "workers.h"

namespace escriba { namespace {

namespace doubles {
#include "formulas.inl"
#include "train_block.inl"
}  // namespace doubles

const BlockKernels& table(int level, int in_doubles) {
    return in_doubles ? *doubles::block_kernels<PlainLanes<double>>() : *kernels(Level(level)).block;
}

template <class Record>
void share_out(void (*work)(const Record&, std::int64_t, std::int64_t), const Record& record, int threads) {
    const int tasks = int(record.tasks());
    together_with_workers(threads < tasks ? threads : tasks, [&](Team team) { work(record, team.from(tasks), team.to(tasks)); });
}

// sum(i) = parts(0, i) + parts(1, i) + ..., in that order
template <class Real>
void add_up(const void* parts, std::int64_t many, std::int64_t width, void* sum) {
    const Real* part = static_cast<const Real*>(parts);
    Real* to = static_cast<Real*>(sum);
    for (std::int64_t i = 0; i < width; ++i) to[i] = 0;
    for (std::int64_t at = 0; at < many; ++at, part += width)
        for (std::int64_t i = 0; i < width; ++i) to[i] += part[i];
}

} }  // namespace escriba

using namespace escriba;

// `threads` as many as may be used; `in_doubles`: real numbers are double, on whatever level.
#define ESCRIBA_BLOCK_WORK(name, Record) \
    ESCRIBA_API void escriba_block_##name(int level, int in_doubles, int threads, const Record* record) { \
        share_out(table(level, in_doubles).name, *record, threads); \
    }
ESCRIBA_BLOCK_WORK(add_norm, AddNorm)
ESCRIBA_BLOCK_WORK(add_norm_back, AddNorm)
ESCRIBA_BLOCK_WORK(causal_conv, CausalConv)
ESCRIBA_BLOCK_WORK(causal_conv_back, CausalConv)
ESCRIBA_BLOCK_WORK(gated_scan, GatedScan)
ESCRIBA_BLOCK_WORK(gated_scan_back, GatedScan)
ESCRIBA_BLOCK_WORK(gate, Gate)
ESCRIBA_BLOCK_WORK(gate_back, Gate)
ESCRIBA_BLOCK_WORK(drop, Drop)

ESCRIBA_API void escriba_block_add_up(int in_doubles, const void* parts, std::int64_t many, std::int64_t width, void* sum) {
    if (in_doubles) add_up<double>(parts, many, width, sum);
    else add_up<float>(parts, many, width, sum);
}
#undef ESCRIBA_BLOCK_WORK
