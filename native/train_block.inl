// The residual block's elementwise work over any lanes; included by every level within a namespace of its own, after formulas.inl.
// V is the level's vector, V::T the real numbers, S what a branch's numbers are stored as: V::T, or std::uint16_t for bfloat16.

template <class V> inline V take(const float* from) { return V::load(from); }
template <class V> inline V take(const double* from) { return V::load(from); }
template <class V> inline V take(const std::uint16_t* from) { return V::load_bf16(from); }
template <class V> inline void put(V x, float* to) { x.store(to); }
template <class V> inline void put(V x, double* to) { x.store(to); }
template <class V> inline void put(V x, std::uint16_t* to) { x.store_bf16(to); }

template <class S> inline const S* row_of(const void* array, std::int64_t at) { return static_cast<const S*>(array) + at; }
template <class S> inline S* row_of(void* array, std::int64_t at) { return static_cast<S*>(array) + at; }
inline std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// What is kept of a row of numbers: a coin for each place, drawn from (seed, row, place) and from nothing else, so that going backward
// draws the same. Source: the mixing of a row's key is splitmix64's (Steele, Lea and Flood 2014), that of a place is lowbias32's
// (Wellons 2018).
template <class V>
struct Coins {
    std::uint32_t key, second, below;
    typename V::T kept;

    Coins(std::uint64_t seed, std::int64_t row, double share) {
        std::uint64_t x = seed + 0x9e3779b97f4a7c15u * (std::uint64_t(row) + 1);
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
        x ^= x >> 31;
        key = std::uint32_t(x);
        second = std::uint32_t(x >> 32);
        below = std::uint32_t(share * 4294967296.0);
        kept = typename V::T(1.0 / (1.0 - share));
    }
    V at(std::int64_t place) const {  // 0 where dropped, else `kept`
        alignas(64) typename V::T one[LANES];
        for (int i = 0; i < LANES; ++i) {
            std::uint32_t x = (std::uint32_t(place) + std::uint32_t(i)) * 0x9e3779b9u ^ key;
            x = (x ^ (x >> 16)) * 0x7feb352du + second;
            x = (x ^ (x >> 15)) * 0x846ca68bu;
            x ^= x >> 16;
            one[i] = x < below ? typename V::T(0) : kept;
        }
        return V::load(one);
    }
};

template <class V, class S>
inline void add_norm_rows(const AddNorm& a, std::int64_t first, std::int64_t last) {
    using T = typename V::T;
    const T* weight = row_of<T>(a.weight, 0);
    for (std::int64_t row = first * ROWS_A_TASK; row < smaller(a.rows, last * ROWS_A_TASK); ++row) {
        const T* x = row_of<T>(a.x, row * a.width);
        V squares = V::set(0);
        if (a.branch) {
            const S* branch = row_of<S>(a.branch, row * a.width);
            T* sum = row_of<T>(a.sum, row * a.width);
            const Coins<V> coins(a.seed, a.before + row, a.share);
            for (std::int64_t i = 0; i < a.width; i += LANES) {
                V added = take<V>(branch + i);
                if (a.share > 0) added = added * coins.at(i);
                V one = V::load(x + i) + added;
                one.store(sum + i);
                squares = fma(one, one, squares);
            }
            x = sum;
        } else {
            for (std::int64_t i = 0; i < a.width; i += LANES) squares = fma(V::load(x + i), V::load(x + i), squares);
        }
        const V inverse = V::set(1) / sqrt(V::set(squares.sum() / T(a.width) + T(1e-6)));
        *row_of<T>(a.inverse, row) = inverse.largest();
        S* normed = row_of<S>(a.normed, row * a.width);
        for (std::int64_t i = 0; i < a.width; i += LANES) put(V::load(x + i) * inverse * V::load(weight + i), normed + i);
    }
}

template <class V, class S>
inline void add_norm_rows_back(const AddNorm& a, std::int64_t first, std::int64_t last) {
    using T = typename V::T;
    const T* weight = row_of<T>(a.weight, 0);
    for (std::int64_t task = first; task < last; ++task) {
        T* part = row_of<T>(a.d_parts, task * a.width);
        for (std::int64_t i = 0; i < a.width; ++i) part[i] = 0;
        for (std::int64_t row = task * ROWS_A_TASK; row < smaller(a.rows, (task + 1) * ROWS_A_TASK); ++row) {
            const T* sum = row_of<T>(const_cast<const void*>(a.sum), row * a.width);
            const S* d_normed = row_of<S>(a.d_normed, row * a.width);
            const V inverse = V::set(*row_of<T>(const_cast<const void*>(a.inverse), row));
            V along = V::set(0);
            for (std::int64_t i = 0; i < a.width; i += LANES) {
                const V r = V::load(sum + i) * inverse, d = take<V>(d_normed + i);
                fma(d, r, V::load(part + i)).store(part + i);
                along = fma(d * V::load(weight + i), r, along);
            }
            const V share = V::set(along.sum() / T(a.width));
            const T* d_sum = a.d_sum ? row_of<T>(a.d_sum, row * a.width) : nullptr;
            T* d_x = row_of<T>(a.d_x, row * a.width);
            S* d_branch = a.d_branch ? row_of<S>(a.d_branch, row * a.width) : nullptr;
            const Coins<V> coins(a.seed, a.before + row, a.share);
            for (std::int64_t i = 0; i < a.width; i += LANES) {
                const V r = V::load(sum + i) * inverse;
                V d = inverse * (take<V>(d_normed + i) * V::load(weight + i) - r * share);
                if (d_sum) d = d + V::load(d_sum + i);
                d.store(d_x + i);
                if (d_branch) put(a.share > 0 ? d * coins.at(i) : d, d_branch + i);
            }
        }
    }
}

// v at a time and a unit of one row; the tail's where the time is before the first
template <class V, class S>
inline V seen(const CausalConv& a, std::int64_t row, std::int64_t time, std::int64_t unit) {
    if (time < 0) return V::load(row_of<typename V::T>(a.tail, (row * (a.taps - 1) + a.taps - 1 + time) * a.width + unit));
    return take<V>(row_of<S>(a.v, row * a.v_row + time * a.v_time + unit));
}

// A number known while compiling lets what was seen last stay in registers: TAPS is 0 where it is not the usual one.
constexpr std::int64_t USUAL_TAPS = 4, MOST_TAPS = 64;

template <class V, class S, std::int64_t TAPS>
inline void causal_conv_columns(const CausalConv& a, std::int64_t first, std::int64_t last) {
    using T = typename V::T;
    const std::int64_t parts = parts_of(a.width, UNITS_A_TASK), taps = TAPS ? TAPS : a.taps;
    for (std::int64_t task = first; task < last; ++task) {
        const std::int64_t row = task / parts, from = task % parts * UNITS_A_TASK, to = smaller(a.width, from + UNITS_A_TASK);
        for (std::int64_t begin = 0; begin < a.times; begin += TIMES_A_MARK)  // so few times that what lies beside is still near
            for (std::int64_t unit = from; unit < to; unit += LANES) {
                V weight[TAPS ? TAPS : MOST_TAPS], v[TAPS ? TAPS : MOST_TAPS];
                for (std::int64_t j = 0; j < taps; ++j) weight[j] = V::load(row_of<T>(a.weight, j * a.width + unit));
                for (std::int64_t j = 1; j < taps; ++j) v[j] = seen<V, S>(a, row, begin - taps + j, unit);
                const V bias = V::load(row_of<T>(a.bias, unit));
                for (std::int64_t time = begin; time < smaller(a.times, begin + TIMES_A_MARK); ++time) {
                    for (std::int64_t j = 1; j < taps; ++j) v[j - 1] = v[j];
                    v[taps - 1] = take<V>(row_of<S>(a.v, row * a.v_row + time * a.v_time + unit));
                    V c = bias;
                    for (std::int64_t j = 0; j < taps; ++j) c = fma(weight[j], v[j], c);
                    put(c, row_of<S>(a.c, (row * a.times + time) * a.width + unit));
                }
            }
    }
}

// the gradient of c at a time; none after the last, nor before the first
template <class V, class S>
inline V d_seen(const CausalConv& a, std::int64_t row, std::int64_t time, std::int64_t unit) {
    return time < 0 || time >= a.times ? V::set(0) : take<V>(row_of<S>(a.d_c, (row * a.times + time) * a.width + unit));
}

template <class V, class S, std::int64_t TAPS>
inline void causal_conv_columns_back(const CausalConv& a, std::int64_t first, std::int64_t last) {
    using T = typename V::T;
    const std::int64_t parts = parts_of(a.width, UNITS_A_TASK), taps = TAPS ? TAPS : a.taps, before = taps - 1;
    for (std::int64_t task = first; task < last; ++task) {
        const std::int64_t row = task / parts, from = task % parts * UNITS_A_TASK, to = smaller(a.width, from + UNITS_A_TASK);
        T* part = row_of<T>(a.d_parts, row * (taps + 1) * a.width);
        for (std::int64_t j = 0; j <= taps; ++j)
            for (std::int64_t unit = from; unit < to; ++unit) part[j * a.width + unit] = 0;
        // times are those of v (the tail's are below 0); c at time + before - j has seen it through weight j
        for (std::int64_t begin = -before; begin < a.times; begin += TIMES_A_MARK)
            for (std::int64_t unit = from; unit < to; unit += LANES) {
                V weight[TAPS ? TAPS : MOST_TAPS], sum[TAPS ? TAPS : MOST_TAPS], d_c[TAPS ? TAPS : MOST_TAPS];
                for (std::int64_t j = 0; j < taps; ++j) {
                    weight[j] = V::load(row_of<T>(a.weight, j * a.width + unit));
                    sum[j] = V::load(part + j * a.width + unit);
                }
                for (std::int64_t j = 0; j < before; ++j) d_c[j] = d_seen<V, S>(a, row, begin + before - 1 - j, unit);
                V bias = V::load(part + taps * a.width + unit);
                for (std::int64_t time = begin; time < smaller(a.times, begin + TIMES_A_MARK); ++time) {
                    for (std::int64_t j = before; j > 0; --j) d_c[j] = d_c[j - 1];
                    d_c[0] = d_seen<V, S>(a, row, time + before, unit);
                    bias = bias + d_c[0];
                    const V v = seen<V, S>(a, row, time, unit);
                    V d_v = V::set(0);
                    for (std::int64_t j = 0; j < taps; ++j) {
                        d_v = fma(weight[j], d_c[j], d_v);
                        sum[j] = fma(v, d_c[j], sum[j]);
                    }
                    if (time < 0) d_v.store(row_of<T>(a.d_tail, (row * before + before + time) * a.width + unit));
                    else put(d_v, row_of<S>(a.d_v, row * a.d_v_row + time * a.d_v_time + unit));
                }
                for (std::int64_t j = 0; j < taps; ++j) sum[j].store(part + j * a.width + unit);
                bias.store(part + taps * a.width + unit);
            }
    }
}

template <class V, class S>
inline void causal_conv_units(const CausalConv& a, std::int64_t first, std::int64_t last) {
    if (a.taps == USUAL_TAPS) causal_conv_columns<V, S, USUAL_TAPS>(a, first, last);
    else causal_conv_columns<V, S, 0>(a, first, last);
}

template <class V, class S>
inline void causal_conv_units_back(const CausalConv& a, std::int64_t first, std::int64_t last) {
    if (a.taps == USUAL_TAPS) causal_conv_columns_back<V, S, USUAL_TAPS>(a, first, last);
    else causal_conv_columns_back<V, S, 0>(a, first, last);
}

template <class V, class S>
inline void gated_scan_units(const GatedScan& a, std::int64_t first, std::int64_t last) {
    using T = typename V::T;
    const std::int64_t parts = parts_of(a.width, UNITS_A_TASK), marks = parts_of(a.times, TIMES_A_MARK);
    for (std::int64_t task = first; task < last; ++task) {
        const std::int64_t row = task / parts, from = task % parts * UNITS_A_TASK, to = smaller(a.width, from + UNITS_A_TASK);
        T* state = row_of<T>(a.last, row * a.width);
        for (std::int64_t unit = from; unit < to; ++unit) state[unit] = row_of<T>(a.start, row * a.width)[unit];
        for (std::int64_t mark = 0; mark < marks; ++mark)  // so few times that what lies beside is still near
            for (std::int64_t unit = from; unit < to; unit += LANES) {
                const V bias_z = V::load(row_of<T>(a.bias, unit)), bias_n = V::load(row_of<T>(a.bias, a.width + unit));
                V h = V::load(state + unit);
                if (a.marks) h.store(row_of<T>(a.marks, (row * marks + mark) * a.width + unit));
                for (std::int64_t time = mark * TIMES_A_MARK; time < smaller(a.times, (mark + 1) * TIMES_A_MARK); ++time) {
                    const S* p = row_of<S>(a.p, row * a.p_row + time * a.p_time + unit);
                    h = fma(sigmoid(take<V>(p) + bias_z), take<V>(p + a.width) + bias_n - h, h);
                    const V g = take<V>(row_of<S>(a.g, row * a.g_row + time * a.g_time + unit));
                    put(h * silu(g), row_of<S>(a.y, (row * a.times + time) * a.width + unit));
                }
                h.store(state + unit);
            }
    }
}

template <class V, class S>
inline void gated_scan_units_back(const GatedScan& a, std::int64_t first, std::int64_t last) {
    using T = typename V::T;
    const std::int64_t parts = parts_of(a.width, UNITS_A_TASK), marks = parts_of(a.times, TIMES_A_MARK);
    const V one = V::set(1);
    for (std::int64_t task = first; task < last; ++task) {
        const std::int64_t row = task / parts, from = task % parts * UNITS_A_TASK, to = smaller(a.width, from + UNITS_A_TASK);
        T* d_state = row_of<T>(a.d_start, row * a.width);
        T* d_bias = row_of<T>(a.d_parts, row * 2 * a.width);
        for (std::int64_t unit = from; unit < to; ++unit) {
            d_state[unit] = a.d_last ? row_of<T>(a.d_last, row * a.width)[unit] : T(0);
            d_bias[unit] = d_bias[a.width + unit] = 0;
        }
        for (std::int64_t mark = marks - 1; mark >= 0; --mark)
            for (std::int64_t unit = from; unit < to; unit += LANES) {
                const std::int64_t begin = mark * TIMES_A_MARK, times = smaller(a.times - begin, TIMES_A_MARK);
                const V bias_z = V::load(row_of<T>(a.bias, unit)), bias_n = V::load(row_of<T>(a.bias, a.width + unit));
                V z[TIMES_A_MARK], n[TIMES_A_MARK], h[TIMES_A_MARK + 1];
                h[0] = V::load(row_of<T>(const_cast<const void*>(a.marks), (row * marks + mark) * a.width + unit));
                for (std::int64_t t = 0; t < times; ++t) {
                    const S* p = row_of<S>(a.p, row * a.p_row + (begin + t) * a.p_time + unit);
                    z[t] = sigmoid(take<V>(p) + bias_z);
                    n[t] = take<V>(p + a.width) + bias_n;
                    h[t + 1] = fma(z[t], n[t] - h[t], h[t]);
                }
                V d_h = V::load(d_state + unit), d_z_sum = V::load(d_bias + unit), d_n_sum = V::load(d_bias + a.width + unit);
                for (std::int64_t t = times - 1; t >= 0; --t) {
                    const std::int64_t place = row * a.times + begin + t;
                    const V g = take<V>(row_of<S>(a.g, row * a.g_row + (begin + t) * a.g_time + unit)), s = sigmoid(g);
                    const V d_y = take<V>(row_of<S>(a.d_y, place * a.width + unit));
                    put(d_y * h[t + 1] * s * fma(g, one - s, one), row_of<S>(a.d_g, row * a.d_g_row + (begin + t) * a.d_g_time + unit));
                    d_h = fma(d_y, g * s, d_h);
                    const V d_n = d_h * z[t], d_z = d_n * (n[t] - h[t]) * (one - z[t]);
                    S* d_p = row_of<S>(a.d_p, place * 2 * a.width + unit);
                    put(d_z, d_p);
                    put(d_n, d_p + a.width);
                    d_h = d_h - d_n;
                    d_z_sum = d_z_sum + d_z;
                    d_n_sum = d_n_sum + d_n;
                }
                d_h.store(d_state + unit);
                d_z_sum.store(d_bias + unit);
                d_n_sum.store(d_bias + a.width + unit);
            }
    }
}

template <class V, class S>
inline void gate_rows(const Gate& a, std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first * ROWS_A_TASK; row < smaller(a.rows, last * ROWS_A_TASK); ++row) {
        const S* x = row_of<S>(a.a, row * a.a_row);
        const S* g = row_of<S>(a.g, row * a.g_row);
        S* y = row_of<S>(a.y, row * a.width);
        for (std::int64_t i = 0; i < a.width; i += LANES) put(take<V>(x + i) * silu(take<V>(g + i)), y + i);
    }
}

template <class V, class S>
inline void gate_rows_back(const Gate& a, std::int64_t first, std::int64_t last) {
    const V one = V::set(1);
    for (std::int64_t row = first * ROWS_A_TASK; row < smaller(a.rows, last * ROWS_A_TASK); ++row) {
        const S* x = row_of<S>(a.a, row * a.a_row);
        const S* g = row_of<S>(a.g, row * a.g_row);
        const S* d_y = row_of<S>(a.d_y, row * a.width);
        S* d_a = row_of<S>(a.d_a, row * a.d_a_row);
        S* d_g = row_of<S>(a.d_g, row * a.d_g_row);
        for (std::int64_t i = 0; i < a.width; i += LANES) {
            const V gate = take<V>(g + i), s = sigmoid(gate), d = take<V>(d_y + i);
            const V d_gate = d * take<V>(x + i) * s * fma(gate, one - s, one);
            put(d * gate * s, d_a + i);
            put(d_gate, d_g + i);
            if (a.y) put(take<V>(x + i) * (gate * s), row_of<S>(a.y, row * a.width) + i);
        }
    }
}

template <class V, class S>
inline void drop_rows(const Drop& a, std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first * ROWS_A_TASK; row < smaller(a.rows, last * ROWS_A_TASK); ++row) {
        const Coins<V> coins(a.seed, row, a.share);
        const S* x = row_of<S>(a.x, row * a.width);
        S* y = row_of<S>(a.y, row * a.width);
        for (std::int64_t i = 0; i < a.width; i += LANES) put(take<V>(x + i) * coins.at(i), y + i);
    }
}

// of each work: in bfloat16 or in real numbers, as its record says
#define ESCRIBA_BLOCK(name, Record, work) \
    template <class V> inline void name(const Record& a, std::int64_t first, std::int64_t last) { \
        if (a.bf16) work<V, std::uint16_t>(a, first, last); \
        else work<V, typename V::T>(a, first, last); \
    }
ESCRIBA_BLOCK(block_add_norm, AddNorm, add_norm_rows)
ESCRIBA_BLOCK(block_add_norm_back, AddNorm, add_norm_rows_back)
ESCRIBA_BLOCK(block_causal_conv, CausalConv, causal_conv_units)
ESCRIBA_BLOCK(block_causal_conv_back, CausalConv, causal_conv_units_back)
ESCRIBA_BLOCK(block_gated_scan, GatedScan, gated_scan_units)
ESCRIBA_BLOCK(block_gated_scan_back, GatedScan, gated_scan_units_back)
ESCRIBA_BLOCK(block_gate, Gate, gate_rows)
ESCRIBA_BLOCK(block_gate_back, Gate, gate_rows_back)
ESCRIBA_BLOCK(block_drop, Drop, drop_rows)
#undef ESCRIBA_BLOCK

template <class V>
inline const BlockKernels* block_kernels() {
    static const BlockKernels table = {block_add_norm<V>,   block_add_norm_back<V>,   block_causal_conv<V>,
                                       block_causal_conv_back<V>, block_gated_scan<V>, block_gated_scan_back<V>,
                                       block_gate<V>,       block_gate_back<V>,       block_drop<V>};
    return &table;
}
