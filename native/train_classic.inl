// One step of rnn, gru and lstm for 16 units of some rows, forward and backward, over any lanes; included by every level within a
// namespace of its own. V is the vector; S and X say how stored numbers and those of the input's product lie in memory.

template <class V>
struct Wide {
    using Number = typename V::T;
    static V load(const Number* from) { return V::load(from); }
    static void store(V v, Number* to) { v.store(to); }
};
template <class V>
struct Narrow {
    using Number = std::uint16_t;
    static V load(const std::uint16_t* from) { return V::load_bf16(from); }
    static void store(V v, std::uint16_t* to) { v.store_bf16(to); }
};

// A row of the input's product.
template <class X>
inline const typename X::Number* x_of(const ClassicForward& p, int row) {
    const std::ptrdiff_t at = p.ids ? std::ptrdiff_t(p.ids[row * p.ids_row]) : std::ptrdiff_t(row);
    return static_cast<const typename X::Number*>(p.x) + at * p.x_row;
}

template <class V, class S>
inline void write_state(const ClassicForward& p, int row, V h) {
    using T = typename V::T;
    using N = typename S::Number;
    h.store(static_cast<T*>(p.h) + row * LANES);
    S::store(h, static_cast<N*>(p.state) + row * p.state_row);
    if (p.output) S::store(h, static_cast<N*>(p.output) + row * p.output_row);
}

template <class V>
inline V activated(ClassicCell cell, V x) {
    if (cell == ClassicCell::RNN_RELU) return max(V::set(0), x);  // so: not a number stays none
    return cell == ClassicCell::RNN_SIGMOID ? sigmoid(x) : tanh(x);
}

// The slope where the function gave h.
template <class V>
inline V slope(ClassicCell cell, V h) {
    const V one = V::set(1);
    if (cell == ClassicCell::RNN_RELU) return min(one, h * V::set(1e38f));  // 1 where h > 0
    return cell == ClassicCell::RNN_SIGMOID ? h * (one - h) : one - h * h;
}

template <class V, class S, class X>
inline void rnn_forward(const ClassicForward& p) {
    using T = typename V::T;
    const T* product = static_cast<const T*>(p.product);
    for (int row = 0; row < p.rows; ++row)
        write_state<V, S>(p, row, activated(p.cell, X::load(x_of<X>(p, row)) + V::load(product + row * p.product_row)));
}

template <class V, class S, class X>
inline void gru_forward(const ClassicForward& p) {
    using T = typename V::T;
    using N = typename S::Number;
    for (int row = 0; row < p.rows; ++row) {
        const T* y = static_cast<const T*>(p.product) + row * p.product_row;
        const typename X::Number* x = x_of<X>(p, row);
        const V r = sigmoid(X::load(x) + V::load(y));
        const V z = sigmoid(X::load(x + p.x_gate) + V::load(y + LANES));
        const V y_n = V::load(y + 2 * LANES);
        const V n = tanh(fma(r, y_n, X::load(x + 2 * p.x_gate)));
        write_state<V, S>(p, row, fma(z, V::load(static_cast<T*>(p.h) + row * LANES) - n, n));
        if (p.kept) {
            N* kept = static_cast<N*>(p.kept) + row * 4 * LANES;
            S::store(r, kept);
            S::store(z, kept + LANES);
            S::store(n, kept + 2 * LANES);
            S::store(y_n, kept + 3 * LANES);
        }
    }
}

template <class V, class S, class X>
inline void lstm_forward(const ClassicForward& p) {
    using T = typename V::T;
    using N = typename S::Number;
    for (int row = 0; row < p.rows; ++row) {
        const T* y = static_cast<const T*>(p.product) + row * p.product_row;
        const typename X::Number* x = x_of<X>(p, row);
        const V i = sigmoid(X::load(x) + V::load(y));
        const V f = sigmoid(X::load(x + p.x_gate) + V::load(y + LANES));
        const V g = tanh(X::load(x + 2 * p.x_gate) + V::load(y + 2 * LANES));
        const V o = sigmoid(X::load(x + 3 * p.x_gate) + V::load(y + 3 * LANES));
        T* at = static_cast<T*>(p.c) + row * LANES;
        const V c = fma(f, V::load(at), i * g);
        c.store(at);
        write_state<V, S>(p, row, o * tanh(c));
        if (p.kept) {
            N* kept = static_cast<N*>(p.kept) + row * 5 * LANES;
            S::store(i, kept);
            S::store(f, kept + LANES);
            S::store(g, kept + 2 * LANES);
            S::store(o, kept + 3 * LANES);
            S::store(c, kept + 4 * LANES);
        }
    }
}

template <class V, class S, class X>
inline void classic_forward_as(const ClassicForward& p) {
    if (p.cell == ClassicCell::GRU) gru_forward<V, S, X>(p);
    else if (p.cell == ClassicCell::LSTM) lstm_forward<V, S, X>(p);
    else rnn_forward<V, S, X>(p);
}

template <class V>
inline void classic_forward(const ClassicForward& p) {
    if (!p.narrow) classic_forward_as<V, Wide<V>, Wide<V>>(p);
    else if (p.ids) classic_forward_as<V, Narrow<V>, Wide<V>>(p);
    else classic_forward_as<V, Narrow<V>, Narrow<V>>(p);
}

// The gradient of h after the step, from the step after and from who saw it.
template <class V, class S>
inline V d_of(const ClassicBackward& p, int row) {
    using T = typename V::T;
    const V d = V::load(static_cast<const T*>(p.product) + row * p.product_row);
    return p.d_output ? d + S::load(static_cast<const typename S::Number*>(p.d_output) + row * p.d_output_row) : d;
}

// Hands on the gradients of a row: of the recurrent gates (adding them to `sums`), and of the input's.
template <class V, class S, int GATES>
inline void write_gates(const ClassicBackward& p, int row, const V* recurrent, const V* input, V* sums) {
    using T = typename V::T;
    using N = typename S::Number;
    N* to = static_cast<N*>(p.d_gates) + row * p.d_gates_row;
    for (int gate = 0; gate < GATES; ++gate) {
        S::store(recurrent[gate], to + gate * p.d_gate);
        sums[gate] = sums[gate] + recurrent[gate];
    }
    if (p.d_x) {
        N* x = static_cast<N*>(p.d_x) + row * p.d_x_row;
        for (int gate = 0; gate < GATES; ++gate) S::store(input[gate], x + gate * p.d_gate);
    }
    if (p.d_table) {
        T* x = static_cast<T*>(p.d_table) + std::ptrdiff_t(p.ids[row * p.ids_row]) * GATES * LANES;
        for (int gate = 0; gate < GATES; ++gate) (V::load(x + gate * LANES) + input[gate]).store(x + gate * LANES);
    }
}

template <class V, int GATES>
struct Sums {
    using T = typename V::T;
    V v[GATES];
    T* const at;
    explicit Sums(void* bias) : at(static_cast<T*>(bias)) {
        for (int gate = 0; gate < GATES; ++gate) v[gate] = V::load(at + gate * LANES);
    }
    void store() const {
        for (int gate = 0; gate < GATES; ++gate) v[gate].store(at + gate * LANES);
    }
};

template <class V, class S>
inline void rnn_backward(const ClassicBackward& p) {
    Sums<V, 1> sums(p.d_bias);
    const auto* state = static_cast<const typename S::Number*>(p.state);
    for (int row = 0; row < p.rows; ++row) {
        const V d = d_of<V, S>(p, row) * slope(p.cell, S::load(state + row * p.state_row));
        write_gates<V, S, 1>(p, row, &d, &d, sums.v);
    }
    sums.store();
}

template <class V, class S>
inline void gru_backward(const ClassicBackward& p) {
    using T = typename V::T;
    using N = typename S::Number;
    const V one = V::set(1);
    Sums<V, 3> sums(p.d_bias);
    for (int row = 0; row < p.rows; ++row) {
        const N* kept = static_cast<const N*>(p.kept) + row * 4 * LANES;
        const V r = S::load(kept), z = S::load(kept + LANES), n = S::load(kept + 2 * LANES), y_n = S::load(kept + 3 * LANES);
        const V before = S::load(static_cast<const N*>(p.state_before) + row * p.state_row);
        T* at = static_cast<T*>(p.d_h) + row * LANES;
        const V d = d_of<V, S>(p, row) + V::load(at);
        const V through = d * z;
        through.store(at);
        const V d_n = (d - through) * (one - n * n);
        const V d_r = d_n * y_n * r * (one - r), d_z = through * (before - n) * (one - z);
        const V recurrent[3] = {d_r, d_z, d_n * r}, input[3] = {d_r, d_z, d_n};
        write_gates<V, S, 3>(p, row, recurrent, input, sums.v);
    }
    sums.store();
}

template <class V, class S>
inline void lstm_backward(const ClassicBackward& p) {
    using T = typename V::T;
    using N = typename S::Number;
    const V one = V::set(1);
    Sums<V, 4> sums(p.d_bias);
    for (int row = 0; row < p.rows; ++row) {
        const N* kept = static_cast<const N*>(p.kept) + row * 5 * LANES;
        const V i = S::load(kept), f = S::load(kept + LANES), g = S::load(kept + 2 * LANES), o = S::load(kept + 3 * LANES);
        const V c = tanh(S::load(kept + 4 * LANES));
        const V c_before = S::load(static_cast<const N*>(p.kept_before) + (row * 5 + 4) * LANES);
        T* at = static_cast<T*>(p.d_c) + row * LANES;
        const V d = d_of<V, S>(p, row);
        const V d_c = fma(d * o, one - c * c, V::load(at));
        (d_c * f).store(at);
        const V gates[4] = {d_c * g * i * (one - i), d_c * c_before * f * (one - f), d_c * i * (one - g * g), d * c * o * (one - o)};
        write_gates<V, S, 4>(p, row, gates, gates, sums.v);
    }
    sums.store();
}

template <class V, class S>
inline void classic_backward_as(const ClassicBackward& p) {
    if (p.cell == ClassicCell::GRU) gru_backward<V, S>(p);
    else if (p.cell == ClassicCell::LSTM) lstm_backward<V, S>(p);
    else rnn_backward<V, S>(p);
}

template <class V>
inline void classic_backward(const ClassicBackward& p) {
    if (p.narrow) classic_backward_as<V, Narrow<V>>(p);
    else classic_backward_as<V, Wide<V>>(p);
}
