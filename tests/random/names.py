"""Names for random models: what people call things, and what a module, its kernels, Python and torch call theirs."""

from random import Random


def split(text: str) -> list[str]:
    return text.split()


WORDS = split("""
index loss total columns predict train to type exact sample forward half double generate batch query float cpu cuda eval apply
weight score rate value values count size step steps length lengths mask target source word words topic topics label labels
price age sex height income dose response outcome group school class student teacher item person day week month year time
state regime cluster component mixture cause effect signal noise error mean scale shape start end first last before after left
right next prior posterior evidence bound energy gain cost delta gap part parts whole rest key name text line row rows column
table matrix vector input inputs output outputs hidden layer head heads depth width order rank level mode best data model
module parameter parameters memory estimator sums shared initialise draws divergences marginals result term terms factor
factors
""")
"""Ordinary words, those among them that a torch module or an emitted one has for itself included."""

GLUED = split("""
a b c d e f g h i j k l m n o p q r s t u v w x y z a_over_b a_b b_a x_len x_observed y_len log_x log_z raw_x raw_mu p_x q_x
x_1 x_2 x2 value_2 log_prob log_weights log_joint joint_z states log_states sum_x max_x x_mask x_elements pairs_z kl_weight
num_data one
""")
"""Single letters and what is easily made by gluing others together."""

KERNELS = split("""
chain_log_prob chain_log_prob_of_tokens log_sum_exp mixture distinct decide tilted tilt keep_pages softplus positive unit
simplex sweep algebra lookup enumerate_joint take_along normal rows_of heap kbest pairs entropy kl chain tree plate latent
given observed partial then over up epochs infer guide fit size net vocab param let
""")
"""What kernels and methods are called, and the words of the language."""

PYTHON = split("""
lambda def return pass global yield async await import None True False self cls int str list dict set tuple sum max min len
range print object property super isinstance zip map filter all any abs round hash id iter open vars dir exec compile input
format math dataclass Callable Mapping __init__ _
""")

TORCH = split("""
torch nn Tensor tensor Module Parameter functional exp log sqrt sigmoid tanh relu softmax logsumexp gather where cat stack
zeros ones arange einsum dtype device detach clone view expand unsqueeze requires_grad_ state_dict named_parameters children
buffers register_buffer zero_grad to_empty share_memory T call_super_init dump_patches
""")

SIZES = split("""
A B C D E F G H I J K L M N P Q R S U V W X Y Z Size K2 Classes States k d s n t size_of LEN B1 Words N_items
""")
"""What sizes are called for the most part."""

POOL = tuple(dict.fromkeys([*WORDS, *GLUED, *KERNELS, *PYTHON, *TORCH]))


class Namer:
    """Names, each given once: plain ones by their stem (`z1`, `x2`), or from the pool."""

    def __init__(self, rng: Random, plain: bool):
        self.rng, self.plain, self.given = rng, plain, set[str]()

    def __call__(self, stem: str) -> str:
        if self.plain:
            return self._once(f"{stem}{len(self.given) + 1}")
        pool = SIZES if stem.isupper() and self.rng.random() < 0.7 else POOL
        # Half of the names come from ordinary words, so that the clash with a keyword does not drown all others.
        pool = WORDS if pool is POOL and self.rng.random() < 0.5 else pool
        free = [name for name in pool if name not in self.given] or [f"{stem}_{len(self.given)}"]
        return self._once(self.rng.choice(free))

    def _once(self, name: str) -> str:
        self.given.add(name)
        return name
