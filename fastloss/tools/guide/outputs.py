"""Whether a model gives logits or probabilities, and how to say it."""

from __future__ import annotations

from fastloss.tools.guide.facts import Facts


def logits(facts: Facts, activation: str) -> tuple[bool, str]:
    """The argument `from_logits`, and the sentence why.

    Args:
        facts: What the data are.
        activation: "sigmoid" or "softmax", what makes probabilities of logits.
    """
    output = facts.output
    if output is None:
        return True, (
            f"Assumes that the model ends without an activation; if it ends in a {activation}, "
            "leave from_logits out."
        )
    if not output.are_probabilities:
        return True, "y_pred leaves [0, 1]: logits."
    if activation == "softmax" and not output.sum_to_one:
        return False, (
            "y_pred lies in [0, 1], so it is taken for probabilities, though its rows do not sum "
            "to 1: end the model in a softmax, or set from_logits if these are logits."
        )
    return False, "y_pred lies in [0, 1]: probabilities."
