"""Sums of small numbers, column by column in a short thought, and the total as the answer."""

from ..item import Item, user
from ..words import Phrases, Words

ASK = Phrases(
    [
        "[What is|How much is|Compute|Calculate] {sum}?",
        "{sum} = ?",
        "Add {list}.",
        "[What do you get|What comes out] if you add {list}?",
        "[I have|There are] {a} {thing} and {b} more [arrive|come]. How many [is that|are there]?",
        "{name} has {a} {thing}, {other} has {b}. How many together?",
        "[Give me|Tell me] the sum of {list}.",
        "{sum}",
        "[The total of|Total of|Sum of|All of] {list}[?|.|, please.]",
        "[Can you|Could you|Will you|Please] [add|sum|total|add up|count together] {list}[?|.|, please.]",
        "{name} [has|finds|sees|sells|counts|makes|eats|takes] {a} {thing}, then {b} [more|others|new ones]. [How many|What number|What] [in total|altogether|at the end|now]?",
        "{name} [got|found|sold|counted|made|took] {a} {thing} [on Monday|today|first|at home] and {b} [on Tuesday|tomorrow|later|at work]. [How many|What is the total|Total]?",
        "[There were|We had|I saw|They keep|A box holds] {a} {thing}[.|,|;] {b} [came|were added|followed|joined]. [How many now|How many|Now it is]?",
        "[First|One day] {a} {thing}, [second|next|another day] {b} {thing}: [how many|the total|together]?",
        "{a} {thing} and {b} {thing} [make|are|give] how many {thing}?",
        "{name} and {other} have {a} and {b} {thing}. [Together|In sum|How many do they have]?",
    ],
    [
        "How many are {sum}?",
        "Please sum up {list}.",
        "{name} buys {a} {thing} and then {b} again. How many in all?",
        "Work out {sum}.",
    ],
)


def add_thought(a: int, b: int) -> str:
    """Column addition, ones first: `7+5=12, write 2 carry 1; 1+2+1=4`."""
    steps, carry, x, y = [], 0, a, b
    while x or y or carry:
        if not (x or y):
            break
        p, q = x % 10, y % 10
        total = p + q + carry
        steps.append(f"{p}+{q}" + ("+1" if carry else "") + f"={total}")
        carry, x, y = total // 10, x // 10, y // 10
    return f"{a}+{b}: " + ", ".join(steps) + f"; so {a + b}."


def make(w: Words) -> Item:
    limit = w.rng.choice([10, 50, 100, 100, 500, 1000])
    a, b = w.rng.randint(1, limit), w.rng.randint(1, limit)
    template = w.pick(ASK)
    numbers = [a, b]
    if "{a}" not in template and w.chance(0.2):
        numbers.append(w.rng.randint(1, limit))
    thing = w.coin() + "s"
    text = template.format(
        a=a, b=b, thing=thing, name=w.first_name(), other=w.first_name(),
        sum=w.rng.choice([" + ", "+", " plus "]).join(map(str, numbers)), list=", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}",
    )  # fmt: skip
    thoughts, total = [], numbers[0]
    for n in numbers[1:]:
        thoughts.append(add_thought(total, n))
        total += n
    return Item("sum", [user(text)], str(total), thought="\n".join(thoughts))
