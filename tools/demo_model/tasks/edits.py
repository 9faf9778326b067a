"""Small edits: a file and an instruction, and the whole edited file comes back in a fence."""

import re
from typing import Any, Callable

from ..item import Item, dumps, user
from ..words import Phrases, Words
from .files import File, as_json, as_yaml, literal, python, scalar, settings

ASK = Phrases(
    [
        "{do}\n\n{file}",
        "{file}\n\n{do}",
        "Here is a file:\n{file}\n{do}",
        "[Edit|Change] this file. {do}\n{file}",
        "{do} [Give me|Return|Show] the whole file.\n\n{file}",
        "[Look at|Take|Consider|Open|We have|There is] [this file|this code|the file|my code|the following]:\n\n{file}\n\n{do}",
        "[Task|Edit|Change|To do]: {do}\n\n[File|Code|Source]:\n{file}",
        "{file}\n[Now|Then|Next], {do}",
        "[Can|Could|Would] you [edit|change|fix|update] [it|this|my file] for me? {do}\n{file}",
        "{file}\n\n{do} [Write|Print|Output|Send|Answer with] [the file|everything|all of it|the result].",
        "{do} [Nothing else|No other change|Keep the rest|Leave all else].\n\n{file}",
    ],
    ["This is my file.\n\n{file}\n\n{do}", "{do} The file is:\n{file}"],
)
RENAME = Phrases(
    [
        "[Rename|Please rename] {what}{old} to {new}.",
        "[Change|Replace] the name {old} [to|by|with] {new}[| everywhere].",
        "Call {what}{old} {new} [instead|from now on].",
        "{old} should be [called|named] {new}.",
        "Use the name {new} [instead of|for] {old}.",
        "{old} -> {new}",
        "[The name|Name] {old} [becomes|turns into|changes to|is now|is replaced by|has to be|must become] {new}.",
        "[I want|I would like|We want|Let us] [to |]rename {what}{old} to {new}.",
        "[Can|Could|Will|Would] you [rename|call|name] {what}{old} {new}?",
        "[Every|Each|Any|All] {old} [becomes|turns into|should become|must be] {new}.",
        "[Put|Write|Have] {new} [where|wherever] {old} [is|stands|was].",
        "{what}{old} [has a bad name|is a bad name|is not a good name|needs another name]; [use|take|call it|make it|better is] {new}.",
        "[A better|A new|The new|Another|The right] name for {what}{old} [is|would be] {new}.",
        "[Old name|Before|Now]: {old}. [New name|After|Then]: {new}.",
        "[From now on|As of today|In future] {old} is {new}.",
        "[Find|Take|Use|Choose] [another|a better] name for {what}{old}, [namely|that is|say] {new}.",
        "[Substitute|Swap|Exchange] {old} [with|for|by] {new} [in the file|everywhere|here].",
    ],
    ["Give {what}{old} the new name {new}.", "{what}{old} is to be named {new}."],
)
CONSTANT = Phrases(
    [
        "[Set|Please set] {name} to {new}.",
        "[Change|Update] [|the value of ]{name} [from {old} |]to {new}.",
        "{name} should be {new}[| instead of {old}].",
        "Make {name} {new}.",
        "The [new |]value of {name} is {new}.",
        "{name} = {new}",
        "{name}: {new}",
        "[I need|We need|I would like|Let us have|Use|Take|Put] {new} [for|as|in|as the value of] {name}.",
        "{name} [has to be|must be|becomes|is now|shall be|will be|changes to|goes to|equals] {new}[.| from now on.| please.]",
        "[Can|Could|Will|Would] you [set|change|put|update] {name} to {new}?",
        "[Replace|Swap|Exchange] [the value|{old}] [of|in|at] {name} [by|with|for] {new}.",
        "{name} is {old}[;|,] [it|this|that] should be {new}.",
        "[Assign|Write|Store] {new} [to|into|at] {name}.",
        "[Raise|Lower|Fix|Correct|Adjust|Switch] {name} to {new}.",
        "[The|Our] {name} [is wrong|is not right|is old]: [make it|use|it is|set] {new}.",
        "[Let|Have|Get|See that] {name} [be|show|say|read] {new}[.| please.]",
        "[The value|What stands|The number] [in|at|behind|of] {name} [should be|has to be|becomes|is to be] {new}.",
        "[I prefer|I like|We want|They ask for] {name} [at|as|to become|to have] {new}.",
    ],
    ["Give {name} the value {new}.", "I want {name} to be {new}."],
)
PARAMETER = Phrases(
    [
        "Add a parameter {param} to [|the function ]{name}.",
        "[Give|Let] {name} [take |]a [new |]parameter {param}.",
        "The function {name} [needs|should take] a[| last| further] parameter {param}.",
        "[Extend|Change] {name} by a parameter {param}.",
        "Add {param} to the parameters of {name}.",
        "{name} [has to|must|should|shall|will|can] [take|have|accept|get|receive] {param}[| too| as well| at the end][.|]",
        "[Append|Insert|Attach|Put|Write] [a parameter |an argument |]{param} [to|at the end of|in|into] [the signature of |the definition of |]{name}.",
        "[I need|We need|I want|There should be] [a parameter |another argument |one more parameter |]{param} [in|for|of|at] {name}.",
        "[Can|Could|Will|Would] you [add|give|append] [an argument|a parameter|the parameter] {param} [to|for] {name}?",
        "[The signature of|The definition of|The function] {name} [lacks|misses|is missing|needs] {param}.",
        "[Make|Have|Let] {name} [accept|take|receive|use|know] [an extra |another |]{param}.",
    ],
    ["{name} gets one more parameter, {param}.", "Please add the argument {param} to {name}."],
)
DELETE_LINE = Phrases(
    [
        "[Delete|Remove] the line `{line}`.",
        "[Delete|Remove|Drop] this line: `{line}`",
        "[Take out|Erase] the line `{line}`.",
        "The line `{line}` [must go|is not needed|should go].",
        "[I do not want|I do not like|I no longer need|Nobody needs|We can do without] [the line |]`{line}`.",
        "[Can|Could|Will|Would] you [delete|remove|drop|cut] [the line |]`{line}`?",
        "`{line}` [is wrong|is too much|is old|is not used|can go|has to go|must be removed|should be deleted].",
        "[Cut|Kill|Strike|Throw away|Skip|Leave out|Forget] [the line |]`{line}`.",
        "[Without|No more|No] [the line |]`{line}`[|, please].",
        "[The file|It|This] [is better|works|should be] without [the line |]`{line}`.",
    ],
    ["Get rid of the line `{line}`.", "We do not need the line `{line}`."],
)
DELETE_NAMED = Phrases(
    [
        "[Delete|Remove|Drop] [the line that sets|the line with|the entry] {name}.",
        "[Delete|Remove] {name}.",
        "{name} is not needed; [delete|remove] it.",
        "[Cut|Kill|Strike|Throw away|Skip|Leave out|Forget] {name}.",
        "[Without|No more|No] {name}[|, please].",
        "[I do not want|I do not like|I no longer need|Nobody needs|We can do without] {name}.",
        "[Can|Could|Will|Would] you [delete|remove|drop|cut] {name}?",
        "[Take out|Erase|Clear|Wipe|Clean up|Cut out] {name}.",
        "There [should|must|shall] be no {name}[| in it| here].",
        "The [config|code|program] [no longer needs|does not need|does not use] {name}.",
        "{name} [is obsolete|is unused|is superfluous|has no use|must not be there].",
        "{name} [is wrong|is too much|is old|is not used|can go|has to go|must be removed|should be deleted].",
        "[The file|It|This] [is better|works|should be] without {name}.",
    ],
    ["Take {name} away.", "The file should not have {name}."],
)
ADD_ENTRY = Phrases(
    [
        "Add {key} with the value {new} at the end.",
        "[Append|Add] {key}: {new} [at the end|as the last entry].",
        "Add a last entry {key} [that is|with value] {new}.",
        "[Add|Insert|Append|Attach|Write] [a new key |a key |an entry |the setting |]{key} [with|=|of|set to|being] {new}.",
        "[There should be|I need|We need|I want] [a new key |an entry |a setting |another entry ]{key} [with|set to|=|of] {new}[.| at the end.| last.]",
        "[Can|Could|Will|Would] you [add|append|insert] {key} [with|=|set to] {new}?",
        "[The last|A last|A final|A new|One more] [entry|key|line|setting] [is|should be|shall be]: {key}, {new}.",
        "[Finish|Close|End] [the file|it] with {key} [set to|=|as] {new}.",
    ],
    ["At the end add {key}, value {new}.", "Put {key} with {new} at the end."],
)


def quoted(w: Words, name: str) -> str:
    return f"`{name}`" if w.chance(0.4) else name


def finish(w: Words, file: File, do: str, lines: list[str]) -> Item:
    edited = File(file.language, lines)
    return Item("code edit", [user(w.pick(ASK).format(do=do, file=file.fenced()))], edited.fenced())


def replace_word(lines: list[str], old: str, new: str) -> list[str]:
    return [re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", new, line) for line in lines]


def rename_in_python(w: Words, size: int) -> Item:
    file, has = python(w, size)
    params = [("the [parameter|variable] ", p) for ps in has["functions"].values() for p in ps]
    kinds = [("the constant ", c) for c in has["constants"]] + [("the function ", f) for f in has["functions"]] + params
    what, old = w.rng.choice(kinds)
    new = w.identifier().upper() if old.isupper() else w.function() if "function" in what else w.identifier()
    what = w.pick(Phrases([what, ""], [what, ""]))
    do = w.pick(RENAME).format(what=what, old=quoted(w, old), new=quoted(w, new))
    return finish(w, file, do, replace_word(file.lines, old, new))


def constant_in_python(w: Words, size: int) -> Item:
    file, has = python(w, size)
    name = w.rng.choice(has["constants"])
    i = next(i for i, line in enumerate(file.lines) if line.startswith(f"{name} = "))
    old, new = file.lines[i].split(" = ", 1)[1], literal(w)
    lines = list(file.lines)
    lines[i] = f"{name} = {new}"
    return finish(w, file, w.pick(CONSTANT).format(name=quoted(w, name), old=old, new=new), lines)


def parameter_in_python(w: Words, size: int) -> Item:
    file, has = python(w, size)
    name = w.rng.choice(list(has["functions"]))
    param, lines = w.identifier(), list(file.lines)
    i = next(i for i, line in enumerate(lines) if line.startswith(f"def {name}("))
    default = literal(w) if "=" in lines[i] or w.chance(0.4) else ""
    said = quoted(w, param) + (
        w.rng.choice([" with default {}", " with the default value {}", " = {}"]).format(default) if default else ""
    )
    written = f"{param}={default}" if default else param
    lines[i] = lines[i][:-2] + (", " if has["functions"][name] else "") + written + "):"
    return finish(w, file, w.pick(PARAMETER).format(name=quoted(w, name), param=said), lines)


def delete_in_python(w: Words, size: int) -> Item:
    file, has = python(w, size)
    lines = list(file.lines)
    if has["modules"] and w.chance(0.3):
        module = w.rng.choice(has["modules"])
        i = lines.index(f"import {module}")
        do = (
            w.pick(DELETE_NAMED).format(name=f"the import of {module}")
            if w.chance(0.5)
            else w.pick(DELETE_LINE).format(line=lines[i])
        )
    elif w.chance(0.4):
        name = w.rng.choice(has["constants"])
        i = next(i for i, line in enumerate(lines) if line.startswith(f"{name} = "))
        do = w.pick(DELETE_NAMED).format(name=quoted(w, name))
    else:
        single = [i for i in range(1, len(lines)) if lines[i].strip() and ":" not in (lines[i][-1], lines[i - 1][-1:])]
        i = w.rng.choice(single)
        do = w.pick(DELETE_LINE).format(line=lines[i].strip())
        if sum(line.strip() == lines[i].strip() for line in lines) > 1:
            return delete_in_python(w, size)
    del lines[i]
    return finish(w, file, do, lines)


def leaves(tree: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    out: list[tuple[str, ...]] = []
    for k, v in tree.items():
        out += leaves(v, path + (k,)) if isinstance(v, dict) else [path + (k,)]
    return out


def edit_settings(w: Words, size: int) -> Item:
    """One of the edits on a tree, shown as JSON or YAML; done on the tree, so the result is well formed."""
    tree, show = settings(w, size), w.rng.choice([as_json, as_yaml])
    file = show(tree)
    path = w.rng.choice(leaves(tree))
    parent = tree
    for k in path[:-1]:
        parent = parent[k]
    key, kind = path[-1], w.rng.random()
    write: Callable[[Any], str] = dumps if show is as_json else scalar
    where = f" [in|of|under] {quoted(w, path[-2])}" if len(path) > 1 and w.chance(0.4) else ""
    name = quoted(w, key) + w.pick(Phrases([where], [where]))
    if kind < 0.35 and not isinstance(parent[key], list):
        old = parent[key]
        new = (
            w.rng.randint(0, 9999)
            if isinstance(old, int) and not isinstance(old, bool)
            else w.rng.choice([w.coin(), w.name(), w.chance(0.5)])
        )
        parent[key] = new
        do = w.pick(CONSTANT).format(name=name, old=write(old), new=write(new))
    elif kind < 0.65:
        new = w.identifier()
        items = [(new if k == key else k, v) for k, v in parent.items()]
        parent.clear()
        parent.update(items)
        do = w.pick(RENAME).format(what=w.rng.choice(["", "the key "]), old=quoted(w, key), new=quoted(w, new))
    elif kind < 0.85 and len(parent) > 1:
        del parent[key]
        do = w.pick(DELETE_NAMED).format(name=name)
    else:
        new_key, new = w.identifier(), w.rng.choice([w.rng.randint(0, 9999), w.coin(), w.chance(0.5)])
        tree[new_key] = new
        do = w.pick(ADD_ENTRY).format(key=quoted(w, new_key), new=write(new))
    return finish(w, file, do, show(tree).lines)


def make(w: Words, size: int = 0) -> Item:
    kinds = [rename_in_python, constant_in_python, parameter_in_python, delete_in_python, edit_settings]
    return w.rng.choices(kinds, [3, 2, 2, 3, 8])[0](w, size)
