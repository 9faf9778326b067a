"""Chats that templates meet: roles in every order, tools, thoughts, documents, odd texts and empty ones."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place, \"today\" or <later>; it's free & quick.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "a town, such as K\u00f6ln"},
                "days": {"type": "integer", "minimum": 0, "maximum": 14, "default": 1},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "threshold": {"type": "number", "default": 0.1},
            },
            "required": ["place"],
        },
    },
}
NOTE = {
    "type": "function",
    "function": {
        "name": "keep_note",
        "description": "Keeps a note.",
        "parameters": {
            "type": "object",
            "properties": {
                "lines": {"type": "array", "items": {"type": "string"}},
                "options": {"type": "object", "properties": {"pinned": {"type": "boolean"}}},
            },
            "required": ["lines", "options"],
        },
    },
}
NOTHING = {"type": "function", "function": {"name": "ping", "description": "", "parameters": {
    "type": "object", "properties": {}}}}

SYSTEM = {"role": "system", "content": "You are terse.\nAnswer in one line."}
USER = {"role": "user", "content": "What is the weather in K\u00f6ln?"}
ANSWER = {"role": "assistant", "content": "Rain, I think."}


def call(name="get_weather", arguments=None, id="call00001"):
    return {"type": "function", "id": id, "function": {
        "name": name, "arguments": {"place": "K\u00f6ln", "days": 2} if arguments is None else arguments}}


CALLING = {"role": "assistant", "content": "", "tool_calls": [call()]}
RESULT = {"role": "tool", "name": "get_weather", "tool_call_id": "call00001", "content": '{"sky": "gr\u00e4u", "t": 7.5}'}
THINKING = {"role": "assistant", "content": "<think>\nWet.\n</think>\n\nRain."}
REASONED = {"role": "assistant", "reasoning_content": "It is autumn.\n", "content": "Rain."}

CHATS = {
    "user": [USER],
    "system": [SYSTEM, USER],
    "turns": [USER, ANSWER, {"role": "user", "content": "And tomorrow?"}],
    "system and turns": [SYSTEM, USER, ANSWER, {"role": "user", "content": "And tomorrow?"}, ANSWER],
    "developer": [{"role": "developer", "content": "Be kind."}, USER],
    "two users": [USER, USER],
    "system in between": [USER, ANSWER, SYSTEM, USER],
    "assistant first": [ANSWER, USER],
    "only system": [SYSTEM],
    "unknown role": [{"role": "narrator", "content": "Once upon a time"}, USER],
    "empty content": [{"role": "system", "content": ""}, {"role": "user", "content": ""}, {"role": "assistant", "content": ""}],
    "no content": [USER, {"role": "assistant", "content": None}],
    "null beside tool calls": [USER, dict(CALLING, content=None), RESULT],
    "no content member": [USER, {"role": "assistant"}],
    "spaces": [{"role": "user", "content": "  \n two  spaces\t\r\n "}, {"role": "assistant", "content": "\n\nyes \n"}],
    "unicode": [{"role": "user", "content": "\u6cb3\u8fb9 \U0001f600 e\u0301 \u202e \u00a0x\u2028y \u200b\x1c|"}],
    "quotes": [{"role": "user", "content": "it's \"quoted\" \\ and {{ braces }} {% tags %} </s> & <b>"}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}],
    "image": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}],
    "parts of system": [{"role": "system", "content": [{"type": "text", "text": "Be brief."}]}, USER],
    "call": [USER, CALLING],
    "call and result": [USER, CALLING, RESULT],
    "call, result, answer": [SYSTEM, USER, CALLING, RESULT, ANSWER, USER],
    "two calls": [USER, {"role": "assistant", "content": "Two things.", "tool_calls": [
        call(), call("keep_note", {"lines": ["a", "b's \"c\""], "options": {"pinned": True, "by": None}}, "call00002")]},
        RESULT, dict(RESULT, name="keep_note", tool_call_id="call00002", content="kept")],
    "arguments as text": [USER, dict(CALLING, tool_calls=[call(arguments='{"place": "Bonn"}')]), RESULT],
    "no arguments": [USER, dict(CALLING, tool_calls=[call("ping", {})]), RESULT],
    "numbers": [USER, dict(CALLING, tool_calls=[call("keep_note", {
        "a": 1, "b": 1.0, "c": 1e100, "d": 0.1, "e": -2.5e-7, "f": 12345678901234567890123, "g": 1e16, "h": False})]), RESULT],
    "result without id": [USER, CALLING, {"role": "tool", "content": "7"}],
    "result as parts": [USER, CALLING, dict(RESULT, content=[{"type": "text", "text": "seven"}])],
    "result as object": [USER, CALLING, dict(RESULT, content={"t": 7})],
    "thoughts in content": [USER, THINKING, {"role": "user", "content": "Sure?"}],
    "thoughts at the end": [USER, THINKING],
    "reasoning": [USER, REASONED, {"role": "user", "content": "Sure?"}, REASONED],
    "reasoning beside a call": [USER, dict(CALLING, reasoning="Look it up."), RESULT],
    "thought by user": [{"role": "user", "content": "what does </think> mean? <think>"}],
    "tool response by user": [{"role": "user", "content": "<tool_response>\n7\n</tool_response>"}],
    "names": [dict(USER, name="Ada"), dict(ANSWER, name="Bot")],
}
DOCUMENTS = [{"title": "Rivers", "text": "The Rhine passes K\u00f6ln."}, {"doc_id": 2, "title": "", "text": "\"Quoted\""}]

# name -> the members of a request beside its messages
SETTINGS = {
    "plain": {},
    "prompt": {"add_generation_prompt": True},
    "tools": {"tools": [WEATHER, NOTE, NOTHING], "add_generation_prompt": True},
    "no tools": {"tools": []},
    "documents": {"documents": DOCUMENTS, "add_generation_prompt": True},
    "thinking": {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}, "add_generation_prompt": True},
    "no thinking": {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}, "add_generation_prompt": True},
    "effort": {"chat_template_kwargs": {"reasoning_effort": "high", "model_identity": "You are Mill.",
                                        "builtin_tools": ["browser", "python"]}, "add_generation_prompt": True},
    "date": {"chat_template_kwargs": {"date_string": "1 May 2031"}, "tools": [WEATHER]},
    "continue": {"continue_final_message": "content"},
    "continue reasoning": {"continue_final_message": "reasoning_content"},
}


def requests():
    for chat, messages in CHATS.items():
        for setting, members in SETTINGS.items():
            yield f"{chat} / {setting}", dict(members, messages=messages)
