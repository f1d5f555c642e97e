"""How often each noise level is trained: four distributions of the timesteps t.

Every distribution is given by a variable u in (0, 1), and `t = floor(u · (T − 1))`; uniform draws t itself.
"""

import math

import numpy as np

TRAIN_TIMESTEPS = 1000
NOISE_SCHEDULE = {
    "num_train_timesteps": TRAIN_TIMESTEPS,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
}
"""SDXL's, in the words of diffusers' schedulers: how much noise a latent holds at each timestep."""


_LEFT_AT_ZERO_SNR = 4.8973451890853435e-08
"""ComfyUI's ᾱ of the last level at zero terminal SNR, so that its noise stays a finite number."""


def noise_levels(zero_terminal_snr: bool = False) -> np.ndarray:
    """The noise (sigma) of every timestep beside a picture of variance 1, rising, shape (T,).

    `zero_terminal_snr`: √ᾱ is moved and stretched so that the last is 0 and the first stays (Lin et al. 2024, alg. 1).
    """
    betas = np.linspace(NOISE_SCHEDULE["beta_start"] ** 0.5, NOISE_SCHEDULE["beta_end"] ** 0.5, TRAIN_TIMESTEPS) ** 2
    kept = np.cumprod(1 - betas)
    if zero_terminal_snr:
        roots = np.sqrt(kept)
        kept = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
        kept[-1] = _LEFT_AT_ZERO_SNR
    return np.sqrt((1 - kept) / kept)


BETA_A, BETA_B = 0.7, 2.0
POWER_K = 1.8

DISTRIBUTIONS = ("log_normal", "uniform", "beta", "power")


def sample(distribution: str, count: int, rng: np.random.Generator, mu: float = -0.3, sigma: float = 1.6) -> np.ndarray:
    """Draw `count` timesteps, integers from 0 (almost no noise) to T − 1 (all noise), shape (count,).

    `log_normal`: u = x / (1 + x) with x ~ LogNormal(mu, sigma), so u is logit-normal.
    `beta` is Beta(0.7, 2.0), `power` has density k·u^(k−1) with k = 1.8; `mu` and `sigma` matter to neither.

    Raises ValueError for a distribution that is not in DISTRIBUTIONS.
    """
    if distribution == "uniform":
        return rng.integers(0, TRAIN_TIMESTEPS, count)
    if distribution == "log_normal":
        x = rng.lognormal(mu, sigma, count)
        u = 1.0 - 1.0 / (1.0 + x)
    elif distribution == "beta":
        u = rng.beta(BETA_A, BETA_B, count)
    elif distribution == "power":
        u = rng.power(POWER_K, count)
    else:
        raise ValueError(f"timestep_sampling: got {distribution!r}, expected one of {', '.join(DISTRIBUTIONS)}.")
    return np.floor(u * (TRAIN_TIMESTEPS - 1)).astype(np.int64)


def density(distribution: str, u: np.ndarray, mu: float = -0.3, sigma: float = 1.6) -> np.ndarray:
    """The probability density of u = t / (T − 1), for u strictly between 0 and 1. Same shape as `u`."""
    if distribution == "uniform":
        return np.ones_like(u)
    if distribution == "log_normal":
        logit = np.log(u / (1 - u))
        return np.exp(-((logit - mu) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi) * u * (1 - u))
    if distribution == "beta":
        norm = math.gamma(BETA_A) * math.gamma(BETA_B) / math.gamma(BETA_A + BETA_B)
        return u ** (BETA_A - 1) * (1 - u) ** (BETA_B - 1) / norm
    if distribution == "power":
        return POWER_K * u ** (POWER_K - 1)
    raise ValueError(f"timestep_sampling: got {distribution!r}, expected one of {', '.join(DISTRIBUTIONS)}.")


def cumulative(distribution: str, u: np.ndarray, mu: float = -0.3, sigma: float = 1.6) -> np.ndarray:
    """The probability that t / (T − 1) is below `u`, for u strictly between 0 and 1. Same shape as `u`."""
    if distribution == "uniform":  # T − 1 itself is drawn as often as any other
        return u * (TRAIN_TIMESTEPS - 1) / TRAIN_TIMESTEPS
    if distribution == "log_normal":
        z = (np.log(u / (1 - u)) - mu) / (sigma * math.sqrt(2))
        return 0.5 * (1 + np.vectorize(math.erf)(z))
    if distribution == "beta":  # for b = 2 the incomplete beta function is a polynomial
        return u**BETA_A * (BETA_A + 1 - BETA_A * u)
    if distribution == "power":
        return u**POWER_K
    raise ValueError(f"timestep_sampling: got {distribution!r}, expected one of {', '.join(DISTRIBUTIONS)}.")
