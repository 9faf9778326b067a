//! A compiled template, adapted: calls of ours where its operators mean something else than Python's, or
//! could make much of little.

use crate::python::{is_list, pairs};
use minijinja::machinery::{Instruction, Instructions};
use minijinja::value::ValueKind;
use minijinja::Value;

/// The same program with our operators, and with long texts of the template written where they are
/// counted.
pub fn adapt(code: &Instructions<'static>, source: &'static str) -> Instructions<'static> {
    // Two instructions stand for one here and there, so that targets of jumps move.
    let mut places = Vec::new();
    let mut next = 0u32;
    let all: Vec<_> = (0..).map_while(|i| code.get(i)).collect();
    for instruction in &all {
        places.push(next);
        next += if first_of_two(instruction).is_some() {
            2
        } else {
            1
        };
    }
    places.push(next);
    let place = |target: u32| places.get(target as usize).copied().unwrap_or(next);

    let mut out = Instructions::new("chat template", source);
    for (i, instruction) in all.into_iter().enumerate() {
        let line = code.get_line(i as u32).unwrap_or(0);
        let first = first_of_two(instruction);
        if let Some(first) = first.clone() {
            out.add_with_line(first, line as u16);
        }
        let adapted = match instruction {
            Instruction::EmitRaw(_) if first.is_some() => Instruction::Emit,
            Instruction::Jump(target) => Instruction::Jump(place(*target)),
            Instruction::JumpIfFalse(target) => Instruction::JumpIfFalse(place(*target)),
            Instruction::JumpIfFalseOrPop(target) => Instruction::JumpIfFalseOrPop(place(*target)),
            Instruction::JumpIfTrueOrPop(target) => Instruction::JumpIfTrueOrPop(place(*target)),
            Instruction::Iterate(target) => Instruction::Iterate(place(*target)),
            Instruction::BuildMacro(name, target, flags) => {
                Instruction::BuildMacro(name, place(*target), *flags)
            }
            other => replacement(other).unwrap_or_else(|| other.clone()),
        };
        out.add_with_line(adapted, line as u16);
    }
    out
}

/// What is put before an instruction: a long text of the template is a value that is written, and
/// loops run over what Python iterates.
fn first_of_two<'a>(instruction: &Instruction<'a>) -> Option<Instruction<'a>> {
    match instruction {
        Instruction::EmitRaw(text) if text.len() > 64 => {
            Some(Instruction::LoadConst(Value::from(*text)))
        }
        Instruction::PushLoop(_) => Some(Instruction::ApplyFilter("operator:for", Some(1), !0)),
        _ => None,
    }
}

/// The operators that Python means otherwise, and those that can make much of little.
fn replacement<'a>(instruction: &Instruction<'a>) -> Option<Instruction<'a>> {
    let call = |name, count| Instruction::ApplyFilter(name, Some(count), !0);
    Some(match instruction {
        Instruction::Add => call("operator:+", 2),
        Instruction::Mul => call("operator:*", 2),
        Instruction::Rem => call("operator:%", 2),
        Instruction::StringConcat => call("operator:~", 2),
        Instruction::Eq => call("operator:==", 2),
        Instruction::Ne => call("operator:!=", 2),
        Instruction::Lt => call("operator:<", 2),
        Instruction::Lte => call("operator:<=", 2),
        Instruction::Gt => call("operator:>", 2),
        Instruction::Gte => call("operator:>=", 2),
        Instruction::In => call("operator:in", 2),
        Instruction::GetItem => call("operator:[]", 2),
        Instruction::Slice => call("operator:[:]", 4),
        Instruction::BuildList(Some(count)) if *count > 0 && *count < u16::MAX as usize => {
            call("literal:[]", *count as u16)
        }
        _ => return None,
    })
}

/// The texts in a program's constants, and those it writes.
pub fn literals(code: &Instructions<'static>, out: &mut Vec<String>) {
    for instruction in (0..).map_while(|i| code.get(i)) {
        match instruction {
            Instruction::EmitRaw(text) => out.push(text.to_string()),
            Instruction::LoadConst(value) => collect_texts(value, out),
            _ => {}
        }
    }
}

fn collect_texts(value: &Value, out: &mut Vec<String>) {
    if let Some(text) = value.as_str() {
        out.push(text.to_string());
    } else if is_list(value) {
        value
            .try_iter()
            .into_iter()
            .flatten()
            .for_each(|e| collect_texts(&e, out));
    } else if value.kind() == ValueKind::Map {
        for (key, member) in pairs(value).unwrap_or_default() {
            collect_texts(&key, out);
            collect_texts(&member, out);
        }
    }
}
