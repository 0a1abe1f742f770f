"""The layers in PyTorch: rnn, gru and lstm, which recur, mingru, whose gates see no state, and ngram, which has a window.

Each is one step and a scan over time.

It knows nothing of symbols, of other layers or of training.

Shapes: B batch, T time, E input, H hidden, G all gates of a cell stacked (1, 3 or 4 times H), N symbols of a window.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from escriba.model.kernels import classic_scan, computes_in_bf16, fused_lstm_does_bf16, gru_scan, has_classic_scan
from escriba.model.plain import linear_scan
from escriba.settings import ModelSettings
from escriba.weights import GATES, biases

__all__ = [
    "CELLS", "CellLayer", "GruLayer", "Layer", "LayerState", "LstmLayer", "MingruLayer", "NgramLayer", "RecurrentLayer",
    "RnnLayer", "glorot_",
]  # fmt: skip

LayerState = tuple[Tensor, ...]
"""The state of one layer: arrays of shape (B, numbers a row), as `weights.state_specs` lists them; h first where there is one."""

LEAST_HIDDEN_OF_OUR_SCAN = 128
"""Hidden units from which `gru_scan`, without native code, learns faster than PyTorch's loop: 1.4 times of ids with 128 and 1024."""
LEAST_ROWS_OF_OUR_SCAN = 16
"""Rows from which it does: with 8 it has three quarters of the speed at 512 units, with 16, 32 and 64 about 1.4 times or more."""

LONGEST_MEMORY = 256
"""Symbols for which, at most, a unit of mingru remembers before it has learnt anything: a few lines of a wrapped text."""


def glorot_(matrix: Tensor, generator: torch.Generator, share: float = 1.0) -> None:
    """Fills a matrix with numbers uniform within Glorot's bounds, or a share of them. Source: Glorot and Bengio 2010, equation 16."""
    bound = share * math.sqrt(6.0 / sum(matrix.shape))
    with torch.no_grad():
        matrix.uniform_(-bound, bound, generator=generator)


class Layer(nn.Module, abc.ABC):
    """One layer of the network.

    Law: `scan` is `step` folded over time, from any state, at any split of the sequence.

    Args:
        hidden_size: H, numbers that come out at each symbol.
        state_sizes: numbers a row in each array of the state.
    """

    def __init__(self, hidden_size: int, state_sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.state_sizes = state_sizes

    @abc.abstractmethod
    def step(self, x_BE: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """One symbol of each row: the output (B, H) and the new state."""

    @abc.abstractmethod
    def scan(self, x_BTE: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """T symbols of each row: the outputs (B, T, H) and the state after the last."""

    @abc.abstractmethod
    def reset_parameters(self, generator: torch.Generator) -> None:
        """New weights."""

    def initial_state(self, batch_size: int) -> LayerState:
        """Zeros: nothing was read yet."""
        return tuple(next(self.parameters()).new_zeros(batch_size, size) for size in self.state_sizes)


class CellLayer(Layer):
    """A layer that is a cell: its gates are a product of what enters, and what the cell makes of it.

    Args:
        settings: the network's shape; hidden_size, and what belongs to the cell, are read.
        seen: numbers that meet `weight_ih` at each symbol.
        state_sizes: numbers a row in each array of the state.
    """

    def __init__(self, settings: ModelSettings, seen: int, state_sizes: tuple[int, ...]) -> None:
        super().__init__(settings.hidden_size, state_sizes)
        rows = len(GATES[settings.cell]) * settings.hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, seen))
        for name in biases(settings):
            self.register_parameter(name, nn.Parameter(torch.empty(rows)))

    def input_bias(self) -> Tensor:
        """The bias that belongs to the input's product, shape (G,)."""
        return self.get_parameter("bias")

    def project(self, x: Tensor) -> Tensor:
        """The input's product, (..., numbers seen) to (..., G): it needs no state, so a scan does it for all of time at once."""
        return nn.functional.linear(x, self.weight_ih, self.input_bias())

    def reset_parameters(self, generator: torch.Generator) -> None:
        """New weights: Glorot-uniform for the input, zero biases.

        The bounds are those of one matrix with all gates stacked, as in Keras, so that runs compare with the lessons'.
        """
        glorot_(self.weight_ih, generator)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.startswith("bias"):
                    parameter.zero_()


class RecurrentLayer(CellLayer):
    """A layer whose state is what it gave before.

    A cell says in `cell` what one step does to the projected input; `step` and `scan` follow. A cell overrides `scan` where there is a
    faster loop: the native one, or one that PyTorch has fused.

    Args:
        settings: as of every layer.
        input_size: E, numbers a symbol that enter the layer.
    """

    states = 1
    native = ""
    """The cell as `classic_scan` calls it; empty: it has none of this kind."""

    def __init__(self, settings: ModelSettings, input_size: int) -> None:
        super().__init__(settings, input_size, (settings.hidden_size,) * self.states)
        self.weight_hh = nn.Parameter(torch.empty(len(self.weight_ih), settings.hidden_size))

    @abc.abstractmethod
    def cell(self, gates_BG: Tensor, state: LayerState) -> LayerState:
        """One step: the projected input and the state give the new state."""

    def step(self, x_BE: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """One symbol of each row: the output is the h of the new state."""
        state = self.cell(self.project(x_BE), state)
        return state[0], state

    def scan(self, x_BTE: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """T symbols of each row, step by step."""
        outputs = []
        for gates_BG in self.project(x_BTE).unbind(1):
            state = self.cell(gates_BG, state)
            outputs.append(state[0])
        return torch.stack(outputs, 1), state

    def uses_our_scan(self, rows: int) -> bool:
        """Whether the loop over time of so many rows is our own: the native one is taken wherever there is one."""
        return rows > 0 and self.native != "" and has_classic_scan(self.weight_hh)

    def scan_ids(self, x: Tensor, ids_BT: Tensor | None, state: LayerState) -> tuple[Tensor, LayerState]:
        """`scan` by our own loop, of vectors (B, T, E), or of ids with every symbol's vector in x, (V, E)."""
        return classic_scan(self.native, x, ids_BT, state, *self.all_weights())

    def all_weights(self) -> tuple[Tensor, ...]:
        """Weights and biases in PyTorch's order."""
        return self.weight_ih, self.weight_hh, self.input_bias()

    def reset_parameters(self, generator: torch.Generator) -> None:
        """As every layer, and the recurrent weights orthogonal. Source: Saxe, McClelland and Ganguli 2013."""
        super().reset_parameters(generator)
        with torch.no_grad():
            nn.init.orthogonal_(self.weight_hh.T, generator=generator)


def activation_of(settings: ModelSettings) -> Callable[[Tensor], Tensor]:
    """The activation that the settings name."""
    functions: Mapping[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}
    return functions[settings.hidden_activation]


class RnnLayer(RecurrentLayer):
    """The simple recurrent layer: h' = f(W_ih x + b + W_hh h).

    Source: Elman 1990; f is tanh unless the settings say otherwise.
    """

    def __init__(self, settings: ModelSettings, input_size: int) -> None:
        super().__init__(settings, input_size)
        self.activation = activation_of(settings)
        self.native = settings.hidden_activation

    def cell(self, gates_BG: Tensor, state: LayerState) -> LayerState:
        """One step of the equation above."""
        return (self.activation(gates_BG + state[0] @ self.weight_hh.T),)

    def scan(self, x_BTE: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """Our own loop where there is one, else step by step."""
        return self.scan_ids(x_BTE, None, state) if self.uses_our_scan(len(x_BTE)) else super().scan(x_BTE, state)


class GruLayer(RecurrentLayer):
    """The gated recurrent unit: r, z = sigmoid(...), n = tanh(...), h' = (1 - z) n + z h.

    With reset "after" the reset gate works on the finished recurrent product, n = tanh(x_n + r (W_hn h + b_hn)), and there are two
    biases; with "before" on the state, n = tanh(x_n + W_hn (r h)), and there is one.

    Source: Cho et al. 2014, equations 5 to 8 ("before"); cuDNN, PyTorch and Keras' reset_after=True ("after").
    """

    def __init__(self, settings: ModelSettings, input_size: int) -> None:
        super().__init__(settings, input_size)
        self.reset_after = settings.reset == "after"
        self.native = "gru" if self.reset_after else ""

    def input_bias(self) -> Tensor:
        """The first of two biases, or the only one."""
        return self.get_parameter("bias_ih" if self.reset_after else "bias")

    def cell(self, gates_BG: Tensor, state: LayerState) -> LayerState:
        """One step of the equations above."""
        (h_BH,) = state
        x_r, x_z, x_n = gates_BG.chunk(3, -1)
        if self.reset_after:
            h_r, h_z, h_n = nn.functional.linear(h_BH, self.weight_hh, self.get_parameter("bias_hh")).chunk(3, -1)
            n_BH = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)
        else:
            w_r, w_z, w_n = self.weight_hh.chunk(3, 0)
            h_z = h_BH @ w_z.T
            n_BH = torch.tanh(x_n + (torch.sigmoid(x_r + h_BH @ w_r.T) * h_BH) @ w_n.T)
        return (n_BH + torch.sigmoid(x_z + h_z) * (h_BH - n_BH),)

    def uses_our_scan(self, rows: int) -> bool:
        """As every layer; without native code `gru_scan` is taken for many units and rows on a processor, in float32, with gradients."""
        if super().uses_our_scan(rows):
            return True
        weight = self.weight_hh
        large = self.hidden_size >= LEAST_HIDDEN_OF_OUR_SCAN and rows >= LEAST_ROWS_OF_OUR_SCAN
        here = weight.device.type == "cpu" and weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        return self.reset_after and large and here and torch.is_grad_enabled()

    def scan(self, x_BTE: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """Our own loop where it is faster, else PyTorch's (cuDNN's on a GPU) where it computes the same equations."""
        if not self.reset_after:
            return super().scan(x_BTE, state)
        if self.uses_our_scan(len(x_BTE)):
            return self.scan_ids(x_BTE, None, state)
        h_BTH, h_1BH = torch.gru(x_BTE, state[0].to(x_BTE.dtype)[None], self.all_weights(), True, 1, 0.0, self.training, False, True)
        return h_BTH, (h_1BH[0],)

    def scan_ids(self, x: Tensor, ids_BT: Tensor | None, state: LayerState) -> tuple[Tensor, LayerState]:
        """As every layer, or by `gru_scan`."""
        if super().uses_our_scan(len(state[0])):
            return super().scan_ids(x, ids_BT, state)
        h_BTH, h_BH = gru_scan(x, ids_BT, state[0].to(x.dtype), *self.all_weights())
        return h_BTH, (h_BH,)

    def all_weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weights and biases in PyTorch's order, with reset "after"."""
        return self.weight_ih, self.weight_hh, self.get_parameter("bias_ih"), self.get_parameter("bias_hh")


class LstmLayer(RecurrentLayer):
    """The long short-term memory: c' = f c + i g, h' = o tanh(c').

    Source: Hochreiter and Schmidhuber 1997 with the forget gate of Gers, Schmidhuber and Cummins 2000; one bias, which starts at 1
    for the forget gate (Jozefowicz, Zaremba and Sutskever 2015).
    """

    states = 2
    native = "lstm"

    def cell(self, gates_BG: Tensor, state: LayerState) -> LayerState:
        """One step of the equations above."""
        h_BH, c_BH = state
        i, f, g, o = (gates_BG + h_BH @ self.weight_hh.T).chunk(4, -1)
        c_BH = torch.sigmoid(f) * c_BH + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c_BH), c_BH

    def scan(self, x_BTE: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """Our own loop where there is one, else PyTorch's with zeros for a second bias, or step by step where it has none for bfloat16."""
        if self.uses_our_scan(len(x_BTE)):
            return self.scan_ids(x_BTE, None, state)
        if computes_in_bf16(x_BTE) and not fused_lstm_does_bf16():
            return super().scan(x_BTE, state)
        bias = self.input_bias()
        weights = (self.weight_ih, self.weight_hh, bias, torch.zeros_like(bias))
        hx = [array_BH.to(x_BTE.dtype)[None].contiguous() for array_BH in state]
        h_BTH, h_1BH, c_1BH = torch.lstm(x_BTE, hx, weights, True, 1, 0.0, self.training, False, True)
        return h_BTH, (h_1BH[0], c_1BH[0])

    def reset_parameters(self, generator: torch.Generator) -> None:
        """As every layer, and the forget gate open at first."""
        super().reset_parameters(generator)
        with torch.no_grad():
            self.input_bias()[self.hidden_size : 2 * self.hidden_size] = 1.0


class MingruLayer(CellLayer):
    """The minimal gated recurrent unit: z = sigmoid(W_z x + b_z), n = W_n x + b_n, h' = (1 - z) h + z n.

    The gates see the input alone, so that all but the last equation is done for all of time at once.

    Source: Feng et al. 2024, in linear space: n may have any sign.

    Args:
        settings: as of every layer.
        input_size: E, numbers a symbol that enter the layer.
    """

    def __init__(self, settings: ModelSettings, input_size: int) -> None:
        super().__init__(settings, input_size, (settings.hidden_size,))

    def reset_parameters(self, generator: torch.Generator) -> None:
        """New weights as of every layer; then the gates of a quarter of the units start almost shut, so that they remember for long.

        A unit whose gate lets 1/t in forgets in some t symbols; t is log-uniform from 2 to `LONGEST_MEMORY`, and the bias -log(t - 1).
        With zeros all units start with a memory of two symbols, and few ever learn to count the line of a text that is wrapped.

        Source: Tallec and Ollivier 2018, section 2 (there for every unit, and t uniform).
        """
        super().reset_parameters(generator)
        with torch.no_grad():
            t = 2.0 * (LONGEST_MEMORY / 2.0) ** torch.rand(self.hidden_size // 4, generator=generator)
            self.input_bias()[: len(t)] = -torch.log(t - 1.0)

    def terms(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """What h is multiplied by, 1 - z, and what is added, z n, both (..., H), in the precision of the state."""
        z, n = self.project(x).to(dtype).chunk(2, -1)
        z = torch.sigmoid(z)
        return 1.0 - z, z * n

    def step(self, x_BE: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """One symbol of each row: the output is the h of the new state."""
        a_BH, b_BH = self.terms(x_BE, state[0].dtype)
        h_BH = a_BH * state[0] + b_BH
        return h_BH, (h_BH,)

    def scan(self, x_BTE: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """T symbols of each row, in the precision of the state."""
        h_BTH = linear_scan(*self.terms(x_BTE, state[0].dtype), state[0])
        return h_BTH, (h_BTH[:, -1],)


class NgramLayer(CellLayer):
    """The layer with a window: h = f(W [x of N - 1 symbols ago, ..., x now] + b). It sees nothing from before the window.

    Its state is the last N - 1 inputs side by side, the oldest first; before the beginning they are zeros. f is the logistic
    function unless the settings say otherwise.

    Source: Bengio, Ducharme, Vincent and Jauvin 2003, without the direct connections.

    Args:
        settings: as of every layer; window is N.
        input_size: E, numbers a symbol that enter the layer.
    """

    def __init__(self, settings: ModelSettings, input_size: int) -> None:
        super().__init__(settings, settings.window * input_size, ((settings.window - 1) * input_size,))
        self.window = settings.window
        self.codes = settings.codes and input_size == 1
        self.activation = activation_of(settings)

    def project(self, x: Tensor) -> Tensor:
        """As every layer's, but of codes in float32 whatever the precision: in bfloat16, 8 binary digits, 300 and 301 are the same."""
        if not (self.codes and torch.is_autocast_enabled(x.device.type)):
            return super().project(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().project(x)

    def step(self, x_BE: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """One symbol of each row: the window moves on by one."""
        seen = torch.cat([state[0], x_BE], -1)
        return self.activation(self.project(seen)), (seen[:, x_BE.shape[-1] :],)

    def scan(self, x_BTE: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """T symbols of each row: every window side by side, one product for all of time."""
        B, T, E = x_BTE.shape
        past_BTE = torch.cat([state[0].reshape(B, self.window - 1, E), x_BTE], 1)
        windows = past_BTE.unfold(1, self.window, 1).transpose(2, 3).reshape(B, T, self.window * E)
        return self.activation(self.project(windows)), (past_BTE[:, T:].flatten(1),)


CELLS: Mapping[str, Callable[[ModelSettings, int], CellLayer]] = {
    "rnn": RnnLayer, "gru": GruLayer, "lstm": LstmLayer, "mingru": MingruLayer, "ngram": NgramLayer,
}  # fmt: skip
"""The layer of every cell that is a network, by the cell's name in the settings."""
