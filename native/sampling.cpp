// The functions of sampling.h. All filters work on weights in the order of ids, not made to sum to one: each only compares them with
// their sum or their largest, and puts zeros in the place of what it leaves out. Nothing is sorted but what top_p must look at.
#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <new>

#include "export.h"

namespace escriba {
namespace {

constexpr double ROUNDING = 1e-12;  // sums of probabilities this near to top_p have reached it: as in the reference

// exp of numbers up to 0, to 3e-10 of itself, 0 below exp(-700); nan stays nan. A loop of it becomes one over vectors.
inline double exp_below(double x) {
    const double bounded = x < -700.0 ? -700.0 : x;
    constexpr double SHIFT = 6755399441055744.0;  // 1.5 * 2^52: the sum's last bits are the nearest whole number
    const double shifted = bounded * 1.4426950408889634 + SHIFT;
    const double whole = shifted - SHIFT;
    const double r = (bounded - whole * 0.693147180369123816490) - whole * 1.90821492927058770002e-10;  // log 2 in two parts
    double p = 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    std::uint64_t bits;
    std::memcpy(&bits, &shifted, 8);
    bits = (bits + 1023) << 52;  // 2 to that whole number
    double power;
    std::memcpy(&power, &bits, 8);
    const double y = p * power;
    return x < -700.0 ? 0.0 : y;
}

constexpr int AT_ONCE = 8;  // sums and maxima run in so many chains

// The largest number; not a number or infinite where one of them is so that this matters: seen in the sum of the exponentials.
template <class Real>
Real largest(const Real* values, std::int64_t n) {
    Real most[AT_ONCE];
    std::fill(most, most + AT_ONCE, values[0]);
    std::int64_t i = 0;
    for (; i + AT_ONCE <= n; i += AT_ONCE)
        for (int lane = 0; lane < AT_ONCE; ++lane) most[lane] = values[i + lane] > most[lane] ? values[i + lane] : most[lane];
    for (; i < n; ++i) most[0] = values[i] > most[0] ? values[i] : most[0];
    return *std::max_element(most, most + AT_ONCE);
}

double sum_of(const double* values, std::int64_t n) {
    double sums[AT_ONCE] = {};
    std::int64_t i = 0;
    for (; i + AT_ONCE <= n; i += AT_ONCE)
        for (int lane = 0; lane < AT_ONCE; ++lane) sums[lane] += values[i + lane];
    for (; i < n; ++i) sums[0] += values[i];
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

// weights = exp((logits - top) * per); gives their sum.
template <class Real>
double exponentials(const Real* logits, std::int64_t n, double top, double per, double* weights) {
    for (std::int64_t i = 0; i < n; ++i) weights[i] = exp_below((double(logits[i]) - top) * per);
    return sum_of(weights, n);
}

// The likeliest k; among equals those with the lower ids.
void keep_likeliest(double* weights, std::int64_t n, std::int64_t k, std::vector<double>& ordered) {
    ordered.assign(weights, weights + n);
    std::nth_element(ordered.begin(), ordered.begin() + (k - 1), ordered.end(), std::greater<double>());
    const double least = ordered[k - 1];
    std::int64_t equals = k;  // how many of those that are equal to the least are kept
    for (std::int64_t i = 0; i < n; ++i) equals -= weights[i] > least;
    for (std::int64_t i = 0; i < n; ++i) {
        if (weights[i] > least || (weights[i] == least && equals-- > 0)) continue;
        weights[i] = 0;
    }
}

// The fewest, from the likeliest down, whose share reaches p; among equals those with the lower ids come first.
void keep_share(double* weights, std::int64_t n, double p, double total, std::vector<std::pair<double, std::int32_t>>& likeliest) {
    // What is below this is less than 1 - p of the whole even if all are: it is not needed to reach p.
    const double least = (1 - p) * total / double(n) * (1 - 1e-9);
    likeliest.clear();
    for (std::int64_t i = 0; i < n; ++i)
        if (weights[i] >= least && weights[i] > 0) likeliest.emplace_back(weights[i], -std::int32_t(i));
    std::make_heap(likeliest.begin(), likeliest.end());
    const double enough = (p - ROUNDING) * total;
    double reached = 0;
    auto end = likeliest.end();
    std::pair<double, std::int32_t> last{0, 0};
    while (end != likeliest.begin()) {
        last = likeliest.front();
        reached += last.first;
        if (reached >= enough) break;
        std::pop_heap(likeliest.begin(), end--);
    }
    if (end == likeliest.begin()) return;  // rounding: all are needed
    for (std::int64_t i = 0; i < n; ++i)
        if (weights[i] < last.first || (weights[i] == last.first && -std::int32_t(i) < last.second)) weights[i] = 0;
}

// The first id at which the sum of the weights so far is above uniform * total; the last possible one if rounding leaves none.
std::int64_t found_at(const double* weights, std::int64_t n, double total, double uniform) {
    const double wanted = uniform * total;
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        sum += weights[i];
        if (sum > wanted) return i;
    }
    std::int64_t i = n - 1;
    while (i > 0 && weights[i] == 0) --i;
    return i;
}

}  // namespace

template <class Real>
std::int64_t draw(const Real* logits, std::int64_t vocab, const Draw& how, double uniform, double* log_prob, Scratch& scratch) {
    if (std::int64_t(scratch.weights.size()) < vocab) scratch.weights.resize(std::size_t(vocab));
    double* weights = scratch.weights.data();
    const double top = double(largest(logits, vocab));
    double total = exponentials(logits, vocab, top, 1.0, weights);
    if (!(total < std::numeric_limits<double>::infinity())) return NOT_FINITE;
    const double log_sum = std::log(total);

    double most = top;  // of what is not banned
    if (how.banned_count > 0) {
        for (std::int32_t i = 0; i < how.banned_count; ++i)
            if (how.banned[i] >= 0 && how.banned[i] < vocab) weights[how.banned[i]] = -1;
        most = -std::numeric_limits<double>::infinity();
        for (std::int64_t i = 0; i < vocab; ++i)
            if (weights[i] >= 0 && double(logits[i]) > most) most = double(logits[i]);
        if (most == -std::numeric_limits<double>::infinity()) return ALL_BANNED;
    }
    std::int64_t id = 0;
    if (how.temperature == 0) {
        while (double(logits[id]) != most || weights[id] < 0) ++id;
    } else {
        if (how.temperature != 1 || how.banned_count > 0) {
            const double per = std::min(1 / how.temperature, 1e300);  // of a temperature near nothing: no infinity times nothing
            exponentials(logits, vocab, most, per, weights);
            for (std::int32_t i = 0; i < how.banned_count; ++i)
                if (how.banned[i] >= 0 && how.banned[i] < vocab) weights[how.banned[i]] = 0;
            total = sum_of(weights, vocab);
        }
        if (how.top_k > 0 && how.top_k < vocab) {
            keep_likeliest(weights, vocab, how.top_k, scratch.ordered);
            total = sum_of(weights, vocab);
        }
        if (how.top_p > 0 && how.top_p < 1) {
            keep_share(weights, vocab, how.top_p, total, scratch.likeliest);
            total = sum_of(weights, vocab);
        }
        if (how.min_p >= 0) {
            const double least = how.min_p * largest(weights, vocab);
            for (std::int64_t i = 0; i < vocab; ++i) weights[i] = weights[i] >= least ? weights[i] : 0;
            total = sum_of(weights, vocab);
        }
        id = found_at(weights, vocab, total, uniform);
    }
    *log_prob = (double(logits[id]) - top) - log_sum;
    return id;
}

template std::int64_t draw<float>(const float*, std::int64_t, const Draw&, double, double*, Scratch&);
template std::int64_t draw<double>(const double*, std::int64_t, const Draw&, double, double*, Scratch&);

}  // namespace escriba

// One draw from float32 (wide 0) or float64 logits; -3 where there is no memory.
ESCRIBA_API std::int64_t escriba_draw(int wide, const void* logits, std::int64_t vocab, const escriba::Draw* how, double uniform,
                                      double* log_prob) {
    try {
        escriba::Scratch scratch;
        return wide ? escriba::draw(static_cast<const double*>(logits), vocab, *how, uniform, log_prob, scratch)
                    : escriba::draw(static_cast<const float*>(logits), vocab, *how, uniform, log_prob, scratch);
    } catch (const std::bad_alloc&) {
        return -3;
    }
}
