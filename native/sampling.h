// From logits to one symbol, as escriba/engine/sampling.py says it: bans, temperature, top-k, top-p, min-p in this order, and one draw.
//
// It knows nothing of models, states or random generators: the uniform number is given to it.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

namespace escriba {

// How one symbol is drawn. A filter is off at top_k 0, top_p 0 or 1, min_p below 0.
struct Draw {
    double temperature;  // 0: the likeliest, the lowest id among equals
    std::int32_t top_k;
    double top_p, min_p;
    const std::int32_t* banned;  // ids that are never drawn; what is no id is passed over
    std::int32_t banned_count;
};

// Memory that one thread uses for draw after draw.
struct Scratch {
    std::vector<double> weights, ordered;
    std::vector<double> logits;  // for who must make them first
    std::vector<std::pair<double, std::int32_t>> likeliest;
};

constexpr std::int64_t NOT_FINITE = -1;  // the logits are damaged
constexpr std::int64_t ALL_BANNED = -2;

// The id that is drawn, or one of the two above.
//   uniform: a number in [0, 1)
//   log_prob: set to the model's own log-probability of that id in nats, before bans, temperature and filters
template <class Real>
std::int64_t draw(const Real* logits, std::int64_t vocab, const Draw& how, double uniform, double* log_prob, Scratch& scratch);

extern template std::int64_t draw<float>(const float*, std::int64_t, const Draw&, double, double*, Scratch&);
extern template std::int64_t draw<double>(const double*, std::int64_t, const Draw&, double, double*, Scratch&);

}  // namespace escriba
