// The n-gram that counts, on the arrays that escriba/engine/counts.py made of a model: the same tries, the same numbers, without Python.
//
// A state is a node: the longest context that was ever gone on from, 0 is the root. Node n's children are the nodes children[n] + 1 to
// children[n + 1]; the key of node n stands at n - 1. It knows nothing of how the n-grams were counted.
#pragma once
#include <cstdint>

namespace escriba {

struct CountsModel {
    std::int64_t vocab;
    const std::int64_t* symbols;   // of each key, rising among the children of a node
    const std::int64_t* children;  // a number more than there are nodes
    const std::int64_t* suffix;    // of each node, the node without its first symbol
    const double* gamma;           // of each node, the share left to shorter contexts
    const double* share;           // of each key, what it gets before that
    const double* prob;            // of each key, its probability after its parent
    const double* root;            // of each symbol, its probability after the root
};

constexpr int MOST_LEVELS = 64;  // contexts within one another: far more than the longest order

// The node after one more symbol.
std::int64_t counts_next(const CountsModel& model, std::int64_t node, std::int64_t symbol);

// The log-probability of a symbol after a node.
double counts_log_prob(const CountsModel& model, std::int64_t node, std::int64_t symbol);

// The log-probabilities of all symbols after a node.
void counts_log_probs(const CountsModel& model, std::int64_t node, double* log_probs);

}  // namespace escriba
