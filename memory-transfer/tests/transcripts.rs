//! Transcripts of every form in, and those of APIs out (contract, C5).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use memquill_core::{Message, Role};
use memquill_transfer::transcript::{
    Conversation, Form, Transcripts, detect, is_derived_id, write,
};
use serde_json::{Value, json};

/// What is found in a text: conversations, and the places and reasons of what is refused.
fn all(text: &str) -> (Vec<Conversation>, Vec<String>) {
    let mut transcripts = Transcripts::new(text.as_bytes()).with_name("file");
    let (mut read, mut refused) = (Vec::new(), Vec::new());
    while let Some(found) = transcripts.next().unwrap() {
        match found.conversation {
            Ok(conversation) => read.push(conversation),
            Err(error) => refused.push(format!("{}: {}", found.line, error.message())),
        }
    }
    (read, refused)
}

fn one(value: &Value) -> Conversation {
    let (mut read, refused) = all(&value.to_string());
    assert_eq!((read.len(), &refused), (1, &Vec::new()), "{value}");
    read.remove(0)
}

fn lines(values: &[Value]) -> String {
    values.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
}

fn roles(conversation: &Conversation) -> Vec<(&str, &str)> {
    conversation.messages.iter().map(|message| (message.role_name(), message.text())).collect()
}

fn written(form: Form, messages: &[Message]) -> (Value, Vec<String>) {
    let written = write(form, messages).unwrap();
    (Value::Object(written.transcript), written.left_out)
}

const SAID: [(&str, &str); 2] = [("user", "Is it open?"), ("assistant", "Until six.")];

#[test]
fn messages_alone_are_one_conversation_named_by_the_file() {
    let (ask, answer) = (
        json!({"role": "user", "content": "Is it open?"}),
        json!({"role": "assistant", "content": "Until six."}),
    );
    for text in [
        lines(&[ask.clone(), answer.clone()]),
        json!([ask, answer]).to_string(),
        serde_json::to_string_pretty(&json!([ask, answer])).unwrap(),
        format!("\u{FEFF}{ask}\r\n\r\n{answer}\r\n"),
    ] {
        let (read, refused) = all(&text);
        assert_eq!((read.len(), refused.len()), (1, 0), "{text}");
        assert_eq!((read[0].id.as_str(), &roles(&read[0])[..]), ("file", &SAID[..]));
        assert!(is_derived_id("file", read[0].messages[1].id.as_deref().unwrap()));
    }
    // Lists are conversations of their own, and so are messages that name another.
    let (read, _) = all(&format!("[{ask}]\n[{answer}]"));
    assert_eq!(read.len(), 2);
    let named = |id: &str| json!({"role": "user", "content": id, "conversation_id": id});
    let (read, _) = all(&lines(&[named("a"), named("a"), named("b")]));
    let ids: Vec<_> = read.iter().map(|c| (c.id.as_str(), c.messages.len())).collect();
    assert_eq!(ids, [("a", 2), ("b", 1)]);
    let nested = json!([[ask, answer], [answer]]);
    assert_eq!(all(&nested.to_string()).0.len(), 2);
}

#[test]
fn a_damaged_message_costs_itself_alone_and_keeps_its_place() {
    let said = |text: &str| json!({"role": "user", "content": text}).to_string();
    let (read, refused) = all(&format!("{}\n{{\"role\": \"us\n{}\n", said("1"), said("3")));
    assert_eq!(roles(&read[0]), [("user", "1"), ("user", "3")]);
    assert!(refused.len() == 1 && refused[0].starts_with("2: "), "{refused:?}");
    let whole = all(&format!("{}\n{}\n{}\n", said("1"), said("2"), said("3"))).0;
    assert_eq!(read[0].messages[1].id, whole[0].messages[2].id, "mended, it takes its place");
    let (read, refused) =
        all(&format!("{}\n{{\"role\": \"usr\", \"content\": \"2\"}}\n", said("1")));
    assert_eq!((read[0].messages.len(), refused.len()), (1, 1));
}

#[test]
fn a_wrong_message_holds_no_other_and_its_place_is_told() {
    let good = |n: u64| json!({"role": "user", "content": n.to_string()});
    let blank = json!({"role": "user", "content": ""});
    let turn = |value: &str| json!({"from": "human", "value": value});
    let said = |id: &str, text: &str, parent: &str| {
        json!({"uuid": id, "parent_message_uuid": parent, "text": text,
               "sender": if text.is_empty() { "nobody" } else { "human" }})
    };
    let node = |id: &str, parent: Option<&str>, role: &str| {
        json!({"id": id, "parent": parent, "message": {"author": {"role": role},
               "content": {"content_type": "text", "parts": [id]}}})
    };
    for (text, place) in [
        (json!({"messages": [good(1), blank, good(3)]}), "message 2: "),
        (json!([{"messages": [good(1), blank, good(3)]}]), "[0]: message 2: "),
        (json!({"conversations": [turn("1"), turn(""), turn("3")]}), "message 2: "),
        (
            json!({"messages": [{"type": "human", "content": "1"}, {"type": "humn", "content": "2"},
                             {"type": "human", "content": "3"}]}),
            "message 2: ",
        ),
        (
            json!({"object": "response", "output": [good(1), {"role": "nobody", "content": "2"}, good(3)]}),
            "item 2: ",
        ),
        (
            json!({"uuid": "c", "chat_messages": [said("1", "1", ""), said("2", "", "1"),
                                               said("3", "3", "2")]}),
            "chat_messages[1]: ",
        ),
        (
            json!({"mapping": {"1": node("1", None, "user"), "2": node("2", Some("1"), "nobody"),
                            "3": node("3", Some("2"), "user")}, "current_node": "3"}),
            "message 2 (mapping.2): ",
        ),
    ] {
        let (read, refused) = all(&text.to_string());
        assert!(refused.is_empty(), "{text}: {refused:?}");
        let [read] = &read[..] else { panic!("{text}: {read:?}") };
        let texts: Vec<&str> = read.messages.iter().map(Message::text).collect();
        assert_eq!(texts, ["1", "3"], "{text}");
        let [omission] = &read.left_out[..] else { panic!("{text}: {:?}", read.left_out) };
        assert!(omission.reason.starts_with(place), "{text}: {omission}");
        assert_eq!(omission.code, "invalid_input");
    }
    // Whatever is left out, the others keep the ids that their positions give them.
    let whole = one(&json!({"id": "c", "messages": [good(1), good(2), good(3)]}));
    let (read, _) = all(&json!({"id": "c", "messages": [good(1), blank, good(3)]}).to_string());
    assert_eq!(read[0].messages, [whole.messages[0].clone(), whole.messages[2].clone()]);
}

#[test]
fn what_has_no_message_that_can_be_taken_is_refused() {
    let nobody = json!({"role": "nobody", "content": "y"});
    let (read, refused) = all(&json!([{"messages": [nobody]}]).to_string());
    assert!(read.is_empty() && refused[0].starts_with("1: [0]: message 1: "), "{refused:?}");
    let (read, refused) = all(&json!({"messages": [nobody, nobody]}).to_string());
    assert!(read.is_empty() && refused.len() == 1, "{refused:?}");
    assert!(refused[0].contains("none of its 2 messages") && refused[0].contains("message 1: "));
    for (text, said) in [
        (r#"{"messages": [{"role": "user", "content": "x", "content": "y"}]}"#, "appears twice"),
        (
            r#"{"messages": [{"role": "user", "content": "x", "n": 123456789012345678901}]}"#,
            "exactly",
        ),
        (r#"{"messages": []}"#, "no message"),
        (r#"{"mesages": [], "role": "x"}"#, "role"),
        ("plain text", "no JSON"),
        (r#"{"some": "thing"}"#, "in no form"),
    ] {
        let (read, refused) = all(text);
        assert!(read.is_empty() && refused.len() == 1, "{text}: {refused:?}");
        assert!(refused[0].contains(said), "{refused:?}");
    }
}

#[test]
fn an_exchange_with_openais_api_is_the_request_and_its_answer() {
    let answer =
        json!({"role": "assistant", "content": "Until six.", "refusal": null, "annotations": []});
    let response = json!({"id": "chatcmpl-7", "object": "chat.completion", "created": 1_795_379_460,
        "model": "m", "choices": [
            {"index": 0, "message": answer, "finish_reason": "stop"},
            {"index": 1, "message": answer, "finish_reason": "stop"}], "usage": {"total_tokens": 9}});
    let request = json!({"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "Is it open?"}]});
    let read = one(&json!({"request": request, "response": response}));
    assert_eq!(
        (read.form, read.id.as_str(), &roles(&read)[..]),
        (Form::OpenAi, "chatcmpl-7", &SAID[..])
    );
    assert_eq!(read.messages[1].metadata["sent_at"], "2026-11-22T20:31:00.000Z");
    assert_eq!(read.set_aside, ["1 other choices of the answer"]);
    assert!(read.not_kept.contains("temperature") && read.not_kept.contains("usage"));
    assert_eq!(written(Form::OpenAi, &read.messages).0["messages"][1], answer);
    assert_eq!(one(&response).messages.len(), 1);
    let batch = json!({"custom_id": "job-1", "method": "POST", "url": "/v1/chat/completions", "body": request});
    assert_eq!(one(&batch).id, "job-1");
    let answered = json!({"custom_id": "job-1", "response": {"status_code": 200, "body": response}, "error": null});
    assert_eq!(one(&answered).id, "job-1");
    // Without an id it is the same conversation each time.
    assert_eq!(one(&request).id, one(&request).id);
}

#[test]
fn responses_items_are_messages_turns_and_results() {
    let items = json!([
        {"type": "message", "id": "msg_1", "role": "user",
         "content": [{"type": "input_text", "text": "Is it open?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "hours", "arguments": "{\"d\":1}"},
        {"type": "function_call", "id": "fc_2", "call_id": "call_2", "name": "hours", "arguments": "{\"d\":2}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "9-18"},
        {"type": "function_call_output", "call_id": "call_2", "output": "closed"},
        {"type": "message", "id": "msg_2", "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": "Until six.", "annotations": []}]},
    ]);
    let response = json!({"id": "resp_1", "object": "response", "created_at": 1_795_379_460,
        "instructions": "Be brief.", "output": items, "model": "m"});
    let read = one(&response);
    assert_eq!((read.form, read.id.as_str()), (Form::Responses, "resp_1"));
    let said: Vec<&str> = read.messages.iter().map(Message::role_name).collect();
    assert_eq!(said, ["developer", "user", "assistant", "tool", "tool", "assistant"]);
    assert_eq!(read.messages[2].parts().unwrap(), &items.as_array().unwrap()[1..4]);
    assert_eq!(read.messages[2].calls().collect::<Vec<_>>(), ["call_1", "call_2"]);
    assert_eq!(read.messages[5].to_chat()["content"], items[6]["content"]);
    assert_eq!(one(&items).messages.len(), 5);
    let (out, left_out) = written(Form::OpenAi, &read.messages);
    assert_eq!(left_out, [r#"a part of the type "reasoning""#]);
    assert_eq!(out["messages"][1], json!({"role": "user", "content": "Is it open?"}));
    assert_eq!(
        out["messages"][2]["tool_calls"][1],
        json!({"id": "call_2", "type": "function",
        "function": {"name": "hours", "arguments": "{\"d\":2}"}})
    );
    assert_eq!(
        out["messages"][4],
        json!({"role": "tool", "tool_call_id": "call_2", "content": "closed"})
    );
    let asked = one(&json!({"model": "m", "input": "Is it open?"}));
    assert_eq!(roles(&asked), [SAID[0]]);
}

/// A chat with an image and two calls at once, as OpenAI's clients send it.
fn openai() -> Value {
    json!([
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "text", "text": "Who is on it?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}]},
        {"role": "assistant", "content": null, "refusal": null, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "face", "arguments": "{\"n\": 1}"}},
            {"id": "c2", "type": "function", "function": {"name": "face", "arguments": "{\"n\": 2}"}}]},
        {"role": "tool", "tool_call_id": "c2", "content": "Bo"},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "Al"}]},
        {"role": "assistant", "content": "Al and Bo.", "annotations": [], "tool_calls": []},
    ])
}

/// The same as Anthropic's clients send it.
fn anthropic() -> Value {
    json!({"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
        {"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            {"type": "text", "text": "Who is on it?"}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Two faces.", "signature": "sig"},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "t1", "name": "face", "input": {"n": 1}},
            {"type": "tool_use", "id": "t2", "name": "face", "input": {"n": 2}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": "Al"},
            {"type": "tool_result", "tool_use_id": "t2", "is_error": true, "content": [{"type": "text", "text": "?"}]},
            {"type": "text", "text": "Go on."}]},
        {"role": "assistant", "content": "Al and someone."}]})
}

#[test]
fn a_providers_transcript_comes_out_equal_in_its_own_form() {
    let read = one(&json!({"conversation_id": "c", "messages": openai()}));
    let (out, left_out) = written(Form::OpenAi, &read.messages);
    assert_eq!((&out["messages"], left_out.len()), (&openai(), 0));
    let read = one(&anthropic());
    assert_eq!(read.form, Form::Anthropic);
    let (out, left_out) = written(Form::Anthropic, &read.messages);
    assert_eq!((out, left_out.len()), (anthropic(), 0));
    let (chat, _) = written(Form::Chat, &read.messages);
    let again = one(&json!({"conversation_id": read.id, "messages": chat["messages"]}));
    assert_eq!(again.messages, read.messages, "the chat form loses nothing");
}

#[test]
fn a_transcript_is_translated_from_one_api_to_the_other() {
    let read = one(&json!({"messages": openai()}));
    let (out, left_out) = written(Form::Anthropic, &read.messages);
    assert_eq!(left_out.len(), 0);
    assert_eq!(out["system"], "Be brief.");
    assert_eq!(
        out["messages"],
        json!([
        {"role": "user", "content": [
            {"type": "text", "text": "Who is on it?"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "c1", "name": "face", "input": {"n": 1}},
            {"type": "tool_use", "id": "c2", "name": "face", "input": {"n": 2}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "c2", "content": "Bo"},
            {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "Al"}]}]},
        {"role": "assistant", "content": "Al and Bo."}])
    );
    let read = one(&anthropic());
    let (out, left_out) = written(Form::OpenAi, &read.messages);
    assert_eq!(left_out, [r#"a part of the type "thinking""#]);
    assert_eq!(
        out["messages"],
        json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "text", "text": "Who is on it?"}]},
        {"role": "assistant", "content": "I look.", "tool_calls": [
            {"id": "t1", "type": "function", "function": {"name": "face", "arguments": "{\"n\":1}"}},
            {"id": "t2", "type": "function", "function": {"name": "face", "arguments": "{\"n\":2}"}}]},
        {"role": "tool", "tool_call_id": "t1", "content": "Al"},
        {"role": "tool", "tool_call_id": "t2", "content": "?"},
        {"role": "user", "content": "Go on."},
        {"role": "assistant", "content": "Al and someone."}])
    );
}

#[test]
fn for_an_api_results_stand_behind_their_calls() {
    let call = |id: &str| {
        json!({"role": "assistant", "content": "wait", "tool_calls": [
        {"id": id, "type": "function", "function": {"name": "f", "arguments": ""}}]})
    };
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": id});
    let said = |text: &str| json!({"role": "user", "content": text});
    let read = one(&json!({"messages": [said("a"), call("late"), said("b"), result("late"),
        result("none"), call("lost"), said("c"), call("last")]}));
    let (out, left_out) = written(Form::OpenAi, &read.messages);
    assert_eq!(
        out["messages"],
        json!([said("a"), call("late"), result("late"), said("b"),
        {"role": "assistant", "content": "wait"}, said("c"), call("last")])
    );
    assert_eq!(left_out.len(), 2, "{left_out:?}");
    let (out, _) = written(Form::Anthropic, &read.messages);
    let roles: Vec<_> =
        out["messages"].as_array().unwrap().iter().map(|m| m["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant", "user", "assistant"]);
}

#[test]
fn langchains_dumps_are_read_in_every_version() {
    let ai = json!({"content": "", "additional_kwargs": {}, "id": "run-1", "example": false,
        "tool_calls": [{"name": "hours", "args": {"d": 1.5}, "id": "c1", "type": "tool_call"}],
        "usage_metadata": {"input_tokens": 3}});
    let mut flat = ai.clone();
    flat["type"] = "ai".into();
    let class = |name: &str| json!(["langchain", "schema", "messages", name]);
    for message in [
        json!({"type": "ai", "data": flat}),
        json!({"lc": 1, "type": "constructor", "id": class("AIMessageChunk"), "kwargs": ai}),
        flat,
    ] {
        let ask = json!({"type": "human", "data": {"content": ["Is it open?", {"type": "image_url", "image_url": {}}]}});
        let result = json!({"lc": 1, "type": "constructor", "id": class("ToolMessage"),
            "kwargs": {"content": "9-18", "tool_call_id": "c1", "status": "success"}});
        let read = one(&json!({"conversation_id": "lc", "messages": [ask, message, result]}));
        assert_eq!(read.form, Form::LangChain);
        assert_eq!(read.messages[0].text(), "Is it open?");
        assert_eq!(
            read.messages[1].tool_calls,
            [json!({"id": "c1", "type": "function",
            "function": {"name": "hours", "arguments": "{\"d\":1.5}"}})]
        );
        assert_eq!(read.messages[1].extra["usage_metadata"]["input_tokens"], 3);
        assert_eq!(read.messages[2].answers().collect::<Vec<_>>(), ["c1"]);
        assert_eq!(read.messages[2].extra["status"], "success");
    }
}

#[test]
fn sharegpts_calls_have_their_observations() {
    let read = one(&json!({"id": "s1", "system": "Be brief.", "tools": "[]", "conversations": [
        {"from": "human", "value": "Is it open?"},
        {"from": "function_call", "value": "{\"name\": \"hours\", \"arguments\": {\"d\": 1}}"},
        {"from": "observation", "value": "9-18"},
        {"from": "gpt", "value": "Until six.", "loss": true}]}));
    assert_eq!((read.form, read.id.as_str()), (Form::ShareGpt, "s1"));
    let said: Vec<&str> = read.messages.iter().map(Message::role_name).collect();
    assert_eq!(said, ["system", "user", "assistant", "tool", "assistant"]);
    assert_eq!(
        read.messages[2].calls().collect::<Vec<_>>(),
        read.messages[3].answers().collect::<Vec<_>>()
    );
    assert_eq!(read.messages[4].extra["loss"], true);
    assert!(read.not_kept.contains("tools"));
    let (_, refused) = all(&json!({"conversations": [{"from": "humn", "value": "x"}]}).to_string());
    assert!(refused[0].contains("message 1"), "{refused:?}");
}

fn node(id: &str, parent: Option<&str>, children: &[&str], message: Value) -> (String, Value) {
    (id.to_owned(), json!({"id": id, "parent": parent, "children": children, "message": message}))
}

fn by(role: &str, content: Value) -> Value {
    json!({"author": {"role": role, "name": null}, "create_time": 1_795_379_460.5, "content": content,
           "recipient": "all", "metadata": {"model_slug": "m"}})
}

fn parts(parts: Value) -> Value {
    json!({"content_type": "text", "parts": parts})
}

#[test]
fn chatgpts_export_is_the_branch_that_was_shown_last() {
    let mut hidden = by("system", parts(json!([""])));
    hidden["metadata"]["is_visually_hidden_from_conversation"] = true.into();
    let mut code =
        by("assistant", json!({"content_type": "code", "language": "python", "text": "1 + 1"}));
    code["recipient"] = "python".into();
    let mut ran = by("tool", json!({"content_type": "execution_output", "text": "2"}));
    ran["author"]["name"] = "python".into();
    let look = json!({"content_type": "multimodal_text", "parts": [
        {"content_type": "image_asset_pointer", "asset_pointer": "file-service://f"}, "Is it open?"]});
    let mapping = serde_json::Map::from_iter([
        node("root", None, &["h"], Value::Null),
        node("h", Some("root"), &["q"], hidden),
        node("q", Some("h"), &["old", "c"], by("user", look)),
        node("old", Some("q"), &[], by("assistant", parts(json!(["No."])))),
        node("c", Some("q"), &["r"], code),
        node("r", Some("c"), &["a"], ran),
        node("a", Some("r"), &[], by("assistant", parts(json!(["Until six."])))),
    ]);
    let export = json!([{"title": "Hours", "conversation_id": "g1", "current_node": "a", "mapping": mapping}]);
    let read = one(&export);
    assert_eq!(
        (read.form, read.id.as_str(), read.title.as_deref()),
        (Form::ChatGpt, "g1", Some("Hours"))
    );
    let ids: Vec<_> = read.messages.iter().map(|m| m.id.as_deref().unwrap()).collect();
    assert_eq!(ids, ["q", "c", "r", "a"]);
    assert_eq!(read.messages[0].text(), "Is it open?");
    assert_eq!(read.messages[0].parts().unwrap()[0]["type"], "image_asset_pointer");
    assert_eq!(read.messages[0].metadata["sent_at"], "2026-11-22T20:31:00.500Z");
    assert_eq!(
        read.messages[1].tool_calls[0]["function"],
        json!({"name": "python", "arguments": "{\"input\":\"1 + 1\"}"})
    );
    assert_eq!(
        (read.messages[2].text(), read.messages[2].tool_call_id.as_deref()),
        ("2", Some("c"))
    );
    assert_eq!(read.messages[3].metadata["model"], "m");
    assert_eq!(
        (&read.other_branches[..], &read.set_aside[..]),
        (&["old".to_owned()][..], &["1 messages of other branches".to_owned()][..])
    );
    // A tree that leads nowhere, or around, is refused.
    for parent in ["gone", "a"] {
        let mut wrong = export.clone();
        wrong[0]["mapping"]["c"]["parent"] = parent.into();
        assert_eq!(all(&wrong.to_string()).0.len(), 0, "{parent}");
    }
}

#[test]
fn claudes_export_has_blocks_files_and_results() {
    let said = |uuid: &str, parent: &str, sender: &str, content: Value| {
        json!({"uuid": uuid, "parent_message_uuid": parent, "sender": sender, "text": "t", "content": content,
               "created_at": "2026-11-22T20:31:00.500Z", "attachments": [], "files": []})
    };
    let text =
        |text: &str| json!({"type": "text", "text": text, "citations": [], "start_timestamp": "x"});
    let mut ask = said("u1", "0", "human", json!([text("Is it open?")]));
    ask["attachments"] =
        json!([{"file_name": "sign.txt", "extracted_content": "9-18", "file_size": 4}]);
    let export = json!([{"uuid": "k1", "name": "Hours", "account": {"uuid": "me"}, "chat_messages": [
        ask,
        said("old", "u1", "assistant", json!([text("No.")])),
        said("a1", "u1", "assistant", json!([
            {"type": "thinking", "thinking": "Look."},
            {"type": "tool_use", "id": "t1", "name": "read", "input": {}, "icon": "eye"},
            {"type": "tool_result", "tool_use_id": "t1", "name": "read", "content": [{"type": "text", "text": "9-18"}]},
            text("Until six.")])),
    ]}]);
    let read = one(&export);
    assert_eq!(
        (read.form, read.id.as_str(), read.title.as_deref()),
        (Form::Claude, "k1", Some("Hours"))
    );
    let ids: Vec<_> = read.messages.iter().map(|m| m.id.as_deref().unwrap()).collect();
    assert_eq!(ids, ["u1", "a1", "a1:1", "a1:2"]);
    assert_eq!(read.messages[0].parts().unwrap()[0]["source"]["data"], "9-18");
    assert_eq!(read.messages[2].answers().collect::<Vec<_>>(), ["t1"]);
    assert_eq!((read.messages[3].role, read.messages[3].text()), (Role::Assistant, "Until six."));
    assert_eq!(read.other_branches, ["old"]);
    assert!(read.not_kept.contains("content.icon"), "{:?}", read.not_kept);
    let (out, left_out) = written(Form::Anthropic, &read.messages);
    assert_eq!(left_out, [r#"a part of the type "thinking""#], "an unsigned thought is not taken");
    assert_eq!(
        out["messages"][1]["content"],
        json!([{"type": "tool_use", "id": "t1", "name": "read", "input": {}}])
    );
}

#[test]
fn a_session_of_claude_code_is_the_branch_that_it_ends_in() {
    let line = |kind: &str, uuid: &str, parent: Option<&str>, content: Value| {
        json!({"type": kind, "uuid": uuid, "parentUuid": parent, "sessionId": "s1", "isSidechain": false,
               "timestamp": "2026-11-22T20:31:00.500Z", "cwd": "/w",
               "message": {"role": kind, "content": content, "id": if kind == "assistant" { json!("msg_1") } else { Value::Null }}})
    };
    let call = |id: &str| json!([{"type": "tool_use", "id": id, "name": "Read", "input": {}}]);
    let result = |id: &str| json!([{"type": "tool_result", "tool_use_id": id, "content": "ok"}]);
    let mut side = line("user", "x1", None, json!("Look around."));
    side["isSidechain"] = true.into();
    side["agentId"] = "g".into();
    let mut done = line("user", "r2", Some("c2"), result("t2"));
    done["toolUseResult"] = json!({"stdout": "ok"});
    let text = lines(&[
        json!({"type": "summary", "summary": "Hours", "leafUuid": "a"}),
        line("user", "q", None, json!("Is it open?")),
        line("assistant", "undone", Some("q"), json!([{"type": "text", "text": "No."}])),
        line("user", "again", Some("undone"), json!("Sure?")),
        json!({"type": "progress", "uuid": "p", "parentUuid": "q", "sessionId": "s1"}),
        line("assistant", "c1", Some("p"), call("t1")),
        line("assistant", "c2", Some("c1"), call("t2")),
        line("user", "r1", Some("c1"), result("t1")),
        done,
        line("assistant", "a", Some("r2"), json!([{"type": "text", "text": "Until six."}])),
        side,
    ]);
    let (read, refused) = all(&text);
    assert_eq!((read.len(), refused.len()), (2, 0), "{refused:?}");
    assert_eq!(
        (read[0].form, read[0].id.as_str(), read[0].title.as_deref()),
        (Form::ClaudeCode, "s1", Some("Hours"))
    );
    let ids: Vec<_> = read[0].messages.iter().map(|m| m.id.as_deref().unwrap()).collect();
    assert_eq!(ids, ["q", "c1", "c2", "r1", "r2", "a"], "both results of calls made at once");
    assert_eq!(read[0].other_branches, ["undone", "again"]);
    assert_eq!(read[0].set_aside.len(), 2, "{:?}", read[0].set_aside);
    assert_eq!(read[0].messages[4].extra["toolUseResult"]["stdout"], "ok");
    assert_eq!(read[1].id, "s1:g");
    let (out, left_out) = written(Form::Anthropic, &read[0].messages);
    assert_eq!(left_out.len(), 0, "{left_out:?}");
    assert_eq!(out["messages"].as_array().unwrap().len(), 4);
    assert_eq!(out["messages"][2]["content"].as_array().unwrap().len(), 2);
    let (out, _) = written(Form::OpenAi, &read[0].messages);
    assert_eq!(out["messages"][1]["tool_calls"].as_array().unwrap().len(), 2);
}

#[test]
fn a_form_can_be_named_where_it_is_not_told() {
    let text = json!({"messages": [{"role": "user", "content": "x"}]}).to_string();
    assert_eq!(detect(&json!({"hello": 1})), None);
    let mut named = Transcripts::new(text.as_bytes()).with_form(Form::Anthropic);
    assert_eq!(named.next().unwrap().unwrap().conversation.unwrap().form, Form::Anthropic);
    let mut wrong = Transcripts::new(text.as_bytes()).with_form(Form::ChatGpt);
    assert!(wrong.next().unwrap().unwrap().conversation.is_err());
    assert!("word".parse::<Form>().unwrap_err().hint().unwrap().contains("claude-code"));
    write(Form::ShareGpt, &[]).unwrap_err();
}
