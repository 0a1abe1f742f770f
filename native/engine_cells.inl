// The elementwise work of the engine over any lanes; included by every level within a namespace of its own.
// The gates of 16 units stand side by side, as engine.h tells. `blocks` of 16 units; x: the product of what entered; r: of the state.

template <class V>
inline void rnn_cell(int activation, const float* x, const float* r, float* after, int blocks) {  // after = act(x + r); r may be nullptr
    for (int i = 0; i < blocks * LANES; i += LANES) {
        V sum = V::load(x + i);
        if (r) sum = sum + V::load(r + i);
        // in this order a number that is none stays none
        (activation == 0 ? tanh(sum) : activation == 1 ? max(V::set(0), sum) : sigmoid(sum)).store(after + i);
    }
}

template <class V>
inline void gru_cell(const float* x, const float* r, const float* before, float* after, int blocks) {  // the reset after the product
    for (int i = 0; i < blocks * LANES; i += LANES, x += 3 * LANES, r += 3 * LANES) {
        const V reset = sigmoid(V::load(x) + V::load(r));
        const V keep = sigmoid(V::load(x + LANES) + V::load(r + LANES));
        const V fresh = tanh(fma(reset, V::load(r + 2 * LANES), V::load(x + 2 * LANES)));
        fma(keep, V::load(before + i) - fresh, fresh).store(after + i);
    }
}

template <class V>
inline void gru_reset(const float* x, const float* r, const float* before, float* left, float* keep, int blocks) {  // before the product
    for (int i = 0; i < blocks * LANES; i += LANES, x += 3 * LANES, r += 2 * LANES) {
        (sigmoid(V::load(x) + V::load(r)) * V::load(before + i)).store(left + i);
        sigmoid(V::load(x + LANES) + V::load(r + LANES)).store(keep + i);
    }
}

template <class V>
inline void gru_fresh(const float* x, const float* r, const float* keep, const float* before, float* after, int blocks) {
    for (int i = 0; i < blocks * LANES; i += LANES, x += 3 * LANES) {
        const V fresh = tanh(V::load(x + 2 * LANES) + V::load(r + i));
        fma(V::load(keep + i), V::load(before + i) - fresh, fresh).store(after + i);
    }
}

template <class V>
inline void lstm_cell(const float* x, const float* r, float* c, float* after, int blocks) {  // c becomes the new one
    for (int i = 0; i < blocks * LANES; i += LANES, x += 4 * LANES, r += 4 * LANES) {
        const V in = sigmoid(V::load(x) + V::load(r));
        const V forget = sigmoid(V::load(x + LANES) + V::load(r + LANES));
        const V fresh = tanh(V::load(x + 2 * LANES) + V::load(r + 2 * LANES));
        const V cell = fma(forget, V::load(c + i), in * fresh);
        cell.store(c + i);
        (sigmoid(V::load(x + 3 * LANES) + V::load(r + 3 * LANES)) * tanh(cell)).store(after + i);
    }
}

// Every step of some units: h = h + sigmoid(z) (n - h). x and after go on by their strides from step to step; h becomes the last.
template <class V>
inline void mingru_cell(const float* x, std::ptrdiff_t x_stride, float* h, float* after, std::ptrdiff_t stride, int steps, int blocks) {
    for (int b = 0; b < blocks; ++b) {
        V now = V::load(h + b * LANES);
        for (int t = 0; t < steps; ++t) {
            const float* gates = x + t * x_stride + b * 2 * LANES;
            now = fma(sigmoid(V::load(gates)), V::load(gates + LANES) - now, now);
            now.store(after + t * stride + b * LANES);
        }
        now.store(h + b * LANES);
    }
}

// y = bias + sum over j of weight[j] v[j]; v: values and gates side by side, `stride` from one step to the next.
template <class V>
inline void conv_step(const float* v, std::ptrdiff_t stride, const float* weight, std::ptrdiff_t units, const float* bias, int taps,
                      float* y, int blocks) {
    for (int b = 0; b < blocks; ++b) {
        V sum = V::load(bias + b * LANES);
        for (int j = 0; j < taps; ++j) sum = fma(V::load(weight + j * units + b * LANES), V::load(v + j * stride + b * 2 * LANES), sum);
        sum.store(y + b * LANES);
    }
}

// y = h silu(g): `h_step` and `g_step` numbers lie between the blocks of h and of g
template <class V>
inline void gate_by(const float* h, int h_step, const float* g, int g_step, float* y, int blocks) {
    for (int b = 0; b < blocks; ++b) (V::load(h + b * h_step) * silu(V::load(g + b * g_step))).store(y + b * LANES);
}

// y = x / sqrt(mean(x^2) + 1e-6) weight; n: padded numbers, of which `count` are no padding
template <class V>
inline void rms_norm(const float* x, const float* weight, float* y, int n, int count) {
    V squares = V::set(0);
    for (int i = 0; i < n; i += LANES) squares = fma(V::load(x + i), V::load(x + i), squares);
    const V scale = V::set(1) / sqrt(V::set(squares.sum() / float(count)) + V::set(1e-6f));
    for (int i = 0; i < n; i += LANES) (V::load(x + i) * scale * V::load(weight + i)).store(y + i);
}

// The sum of exp(x - the largest x), added up in double precision every so often; n is a multiple of 16.
template <class V>
inline double sum_exp(const float* x, int n, float* largest) {
    V most = V::load(x);
    for (int i = LANES; i < n; i += LANES) most = max(most, V::load(x + i));
    *largest = most.largest();
    const V top = V::set(*largest);
    double sum = 0;
    for (int i = 0; i < n;) {
        V part = V::set(0);
        for (const int end = n - i < 64 * LANES ? n : i + 64 * LANES; i < end; i += LANES) part = part + exp(V::load(x + i) - top);
        sum += double(part.sum());
    }
    return sum;
}

template <class V>
inline const EngineKernels* engine_kernels() {
    static const EngineKernels table = {rnn_cell<V>,    gru_cell<V>,  gru_reset<V>, gru_fresh<V>, lstm_cell<V>,
                                        mingru_cell<V>, conv_step<V>, gate_by<V>,   rms_norm<V>,  sum_exp<V>};
    return &table;
}
