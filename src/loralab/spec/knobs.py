"""The knobs of a recipe that people argue about: loss weights, noise, timesteps, optimisers, schedules; each is off unless turned.

Names and meanings are kohya's where sd-scripts has the knob (its option is named in docs/knobs.md), OneTrainer's where only that has it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from loralab.strict import Strict

#: optimisers that find their learning rate themselves: `lr` multiplies what they find
FIND_THEIR_RATE = frozenset({"prodigy", "dadapt-adam"})
#: optimisers whose arithmetic sees a layer's shape, so that only equal ranks share a stack
SEE_SHAPES = frozenset({"adafactor", "adamw-8bit"})

#: optimiser -> its name on pages
OPTIMISER_LABELS = {
    "adamw": "AdamW", "adamw-8bit": "AdamW in 8 bits", "sgd": "SGD", "lion": "Lion", "adafactor": "Adafactor", "prodigy": "Prodigy",
    "dadapt-adam": "D-Adapt Adam", "schedule-free-adamw": "schedule-free AdamW",
}  # fmt: skip


class LossKnobs(Strict):
    """How far a prediction is from its target, and what each timestep counts."""

    loss_type: Literal["l2", "l1", "huber", "smooth_l1"] = Field(
        "l2", description="How the distance between prediction and target is measured."
    )
    huber_schedule: Literal["snr", "exponential", "constant"] = Field(
        "snr", description="How the threshold of huber and smooth_l1 changes with the timestep."
    )
    huber_c: float = Field(0.1, gt=0, le=1, description="Threshold of huber and smooth_l1; with a schedule, the value it ends at.")
    huber_scale: float = Field(1.0, gt=0, description="Factor for the threshold (schedules exponential and constant).")
    min_snr_gamma: float | None = Field(
        None, gt=0, description="Weight timesteps by min(SNR, gamma) / SNR; 5 is common. Default: all the same."
    )
    debiased_estimation: bool = Field(False, description="Weight timesteps by 1 / sqrt(SNR), or with v-prediction by 1 / (SNR + 1).")
    p2_gamma: float | None = Field(None, gt=0, description="Weight timesteps by (1 + SNR) ** -gamma; 1 is common. Default: all the same.")


class NoiseKnobs(Strict):
    """What noise is added, and at which timesteps."""

    noise_offset: float = Field(
        0.0, ge=0, le=1, description="One random number per channel, times this, is added to the noise; 0.05 is common."
    )
    noise_offset_random: bool = Field(False, description="Choose each step's noise offset at random between 0 and `noise_offset`.")
    multires_noise_iterations: int = Field(
        0, ge=0, le=10, description="Number of coarser layers of noise to add (pyramid noise); 6 to 10 are common."
    )
    multires_noise_discount: float = Field(
        0.3, gt=0, le=1, description="Factor by which each coarser layer of noise counts less than the one before."
    )
    ip_noise_gamma: float = Field(
        0.0, ge=0, le=1, description="Input perturbation: extra noise of this size on the input, but not in the target."
    )
    ip_noise_gamma_random: bool = Field(
        False, description="Choose each step's input perturbation at random between 0 and `ip_noise_gamma`."
    )
    min_timestep: int = Field(0, ge=0, description="First timestep to train on.")
    max_timestep: int | None = Field(
        None, ge=1, description="End of the range of timesteps, not itself included. Default: the base's last."
    )
    timestep_sampling: Literal["uniform", "sigmoid", "shift"] = Field(
        "uniform",
        description="How timesteps are chosen: all equally often, the middle more often, or the middle shifted by `timestep_shift`.",
    )
    sigmoid_scale: float = Field(1.0, gt=0, description="Spread of sigmoid and shift: above 1 is flatter, below 1 narrower.")
    timestep_shift: float = Field(1.0, gt=0, description="Shift of the timesteps: above 1 towards noise, below 1 towards detail.")

    @model_validator(mode="after")
    def _a_range(self) -> NoiseKnobs:
        if self.max_timestep is not None and self.max_timestep <= self.min_timestep:
            raise ValueError(f"max_timestep {self.max_timestep} leaves no timesteps above min_timestep {self.min_timestep}")
        return self

    @property
    def draws_plainly(self) -> bool:
        """Whether noise and timesteps are those of the replicate, as they are drawn."""
        touched = self.noise_offset, self.multires_noise_iterations, self.ip_noise_gamma, self.min_timestep
        return not any(touched) and self.max_timestep is None and self.timestep_sampling == "uniform"


class OptimiserKnobs(Strict):
    """How weights follow the gradient."""

    optimiser: Literal["adamw", "adamw-8bit", "sgd", "lion", "adafactor", "prodigy", "dadapt-adam", "schedule-free-adamw"] = Field(
        "adamw", description="The optimiser."
    )
    beta1: float | None = Field(None, ge=0, lt=1, description="First beta. Default: the optimiser's own (0.9).")
    beta2: float | None = Field(None, ge=0, lt=1, description="Second beta. Default: the optimiser's own (0.999; lion 0.99).")
    epsilon: float | None = Field(None, gt=0, description="Epsilon in the denominator. Default: the optimiser's own (1e-8).")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of sgd.")
    nesterov: bool = Field(False, description="Nesterov's momentum, for sgd.")
    d0: float = Field(1e-6, gt=0, description="First guess at the learning rate, for prodigy and dadapt-adam.")
    d_coef: float = Field(1.0, gt=0, description="Factor for the learning rate that prodigy finds.")
    growth_rate: float | None = Field(None, ge=1, description="How much the estimated rate may grow in one step. Default: no limit.")
    bias_correction: bool = Field(False, description="Adam's bias correction, for prodigy and dadapt-adam.")
    safeguard_warmup: bool = Field(False, description="Keep a warm-up from spoiling prodigy's estimate.")
    relative_step: bool = Field(False, description="Adafactor's own learning rate, 1 / sqrt(step), instead of `lr` and `schedule`.")
    scale_parameter: bool = Field(False, description="Adafactor: scale steps to the size of each tensor's values.")
    loraplus_ratio: float = Field(1.0, gt=0, description="LoRA+: learning rate of `up` divided by that of `down`; 16 is common.")
    ema_decay: float = Field(
        0.0, ge=0, lt=1, description="Keep an average of the weights over the steps instead of the last weights; 0 = off."
    )
    schedule_cycles: int = Field(1, ge=1, description="Number of cycles of the schedule cosine-with-restarts.")
    schedule_power: float = Field(1.0, gt=0, description="Power of the schedule polynomial.")
    decay: int | float = Field(0, ge=0, description="Steps of decay at the end of the wsd schedule; below 1, a share of all steps.")
    min_lr_ratio: float = Field(
        0.0, ge=0, le=1, description="Where the schedules wsd, cosine and rex end, as a share of the learning rate."
    )

    @field_validator("decay")
    @classmethod
    def _whole_decay(cls, steps: int | float) -> int | float:
        return whole_or_share(steps)

    @model_validator(mode="after")
    def _fits(self) -> OptimiserKnobs:
        if self.optimiser in FIND_THEIR_RATE and self.loraplus_ratio != 1:
            raise ValueError(f"{self.optimiser} finds a single rate for all weights, so loraplus_ratio cannot be used with it")
        if self.relative_step and self.optimiser != "adafactor":
            raise ValueError(f"relative_step works only with adafactor; the optimiser is {self.optimiser}")
        return self


def whole_or_share(steps: int | float) -> int | float:
    """Return whole steps as an int, a share below 1 as it is; raises ValueError for what is neither."""
    if steps < 1 and steps != 0:
        return steps
    if steps != int(steps):
        raise ValueError(f"{steps:g} is neither a whole number of steps nor a share below 1")
    return int(steps)
