// The functions of gates, over any lanes; included by every level within a namespace of its own.
template <class F> inline F sigmoid(F x) { F one = F::set(1); return one / (one + exp(F::set(0) - x)); }
template <class F> inline F tanh(F x) {  // 1 - 2 / (exp(2 x) + 1): exact at both ends, and near 0 to an absolute rounding
    F one = F::set(1);
    return one - F::set(2) / (exp(x + x) + one);
}
template <class F> inline F silu(F x) { return x * sigmoid(x); }
