//! `chat` but for `chat import`.

use std::io::IsTerminal as _;

use memquill::driver::{ConversationStore, Limits};
use memquill::kinds::{ConversationFormat, ConversationWindow, KindName};
use memquill::transfer::transcript::{self, is_derived_id};
use memquill::{
    ConversationOrder, ConversationSummary, ListConversations, Memory, PageRequest, Pop,
    ReadMessages, Result, Scope, StoredMessage, Window,
};
use serde_json::{Value, json};

use crate::args::{Format, ListOrder, Show};
use crate::output::{self, Output, printable, table};
use crate::session::Session;
use crate::{Done, Failure};

pub(crate) async fn show(args: Show, session: &Session, output: Output) -> Done {
    let memory = session.existing_memory().await?;
    let scope = session.scope(KindName::ConversationBuffer)?;
    let people = std::io::stdout().is_terminal() && !output.is_json();
    let format = args.format.unwrap_or(if people { Format::Conversation } else { Format::Json });
    let text = match format {
        Format::Json | Format::Openai | Format::Anthropic => {
            return transcript(format, &args, &memory, &scope).await;
        }
        Format::Conversation => {
            words(ConversationFormat::Conversation, &args, &memory, &scope).await?
        }
        Format::Compact => words(ConversationFormat::Compact, &args, &memory, &scope).await?,
        Format::Summary => summary(&args, &memory, scope).await?,
    };
    Ok(output::people(|out| writeln!(out, "{}", printable(&text)))?)
}

/// The messages in words, or the window of them that is within the budget.
async fn words(
    format: ConversationFormat,
    args: &Show,
    memory: &Memory,
    scope: &Scope,
) -> Result<String> {
    let messages = asked(args, memory, scope).await?;
    // Without a budget they are a record, which is shown as it is.
    let Some(window) = window(args) else {
        return Ok(format.write(&messages));
    };
    let (context, _) = format.window(&messages, &window, memory.counter().as_ref());
    Ok(context.text)
}

async fn summary(args: &Show, memory: &Memory, scope: Scope) -> Result<String> {
    let chat = memory.with_scope(scope).conversation(&args.conversation);
    let window = ConversationWindow {
        max_messages: args.limit.unwrap_or(Limits::CONTRACT.page_items) as u64,
        max_tokens: args.max_tokens.map(Into::into),
        format: ConversationFormat::Summary,
        ..ConversationWindow::default()
    };
    Ok(chat.show(&window).await?.context.text)
}

/// The messages that are asked for, before any budget.
async fn asked(args: &Show, memory: &Memory, scope: &Scope) -> Result<Vec<StoredMessage>> {
    let store = memory.conversations()?;
    let messages = read(store.as_ref(), scope, &args.conversation, args.limit).await?;
    if messages.is_empty() { Err(nothing(&args.conversation)) } else { Ok(messages) }
}

/// Returns the window that is asked for; none without a budget.
fn window(args: &Show) -> Option<Window> {
    args.max_tokens.map(|max| Window { max_tokens: Some(max.into()), ..Window::default() })
}

/// The chat form, as it was imported, or that of an API: a line that can be imported again.
async fn transcript(format: Format, args: &Show, memory: &Memory, scope: &Scope) -> Done {
    let messages = asked(args, memory, scope).await?;
    let tokens = |m: &StoredMessage| u64::from(memory.counter().count_message(&m.message));
    let shown = match window(args) {
        Some(window) => window.cut(&messages, tokens),
        None => messages.iter().collect(),
    };
    let form = match format {
        Format::Openai => transcript::Form::OpenAi,
        Format::Anthropic => transcript::Form::Anthropic,
        _ => {
            let shown: Vec<Value> = shown.into_iter().map(|message| chat(message, args)).collect();
            output::value(&json!({"conversation_id": args.conversation, "messages": shown}))?;
            return Ok(());
        }
    };
    let shown: Vec<_> = shown.into_iter().map(|stored| stored.message.clone()).collect();
    let written = transcript::write(form, &shown)?;
    for left_out in &written.left_out {
        tracing::warn!("{form} does not take it: {left_out}");
    }
    output::value(&Value::Object(written.transcript))?;
    Ok(())
}

fn chat(stored: &StoredMessage, args: &Show) -> Value {
    let mut message = stored.message.to_chat();
    let id = stored.message.id.as_deref();
    if !args.with_ids && id.is_some_and(|id| is_derived_id(&args.conversation, id)) {
        message.shift_remove("id");
    }
    Value::Object(message)
}

/// The newest `limit` messages, or all, in as many reads as it takes.
pub(super) async fn read(
    store: &dyn ConversationStore,
    scope: &Scope,
    conversation: &str,
    limit: Option<usize>,
) -> Result<Vec<StoredMessage>> {
    let page = Limits::CONTRACT.page_items;
    let mut left = limit.unwrap_or(usize::MAX);
    let mut before_seq = None;
    let mut pages = Vec::new();
    loop {
        let request =
            ReadMessages { before_seq, ..ReadMessages::newest(conversation, left.min(page)) };
        let messages = store.read(scope, &request).await?.messages;
        left -= messages.len();
        before_seq = messages.first().map(|first| first.seq);
        let last = messages.len() < page || left == 0;
        pages.push(messages);
        if last {
            return Ok(pages.into_iter().rev().flatten().collect());
        }
    }
}

fn nothing(conversation: &str) -> memquill::Error {
    memquill::Error::not_found(format!("there is no message in the conversation {conversation:?}"))
        .with_hint("`memquill chat list` shows the conversations; check --user and --node too")
}

pub(crate) async fn list(
    limit: Option<usize>,
    by: ListOrder,
    session: &Session,
    output: Output,
) -> Done {
    let memory = session.existing_memory().await?;
    let scope = session.scope(KindName::ConversationBuffer)?;
    let store = memory.conversations()?;
    let order = match by {
        ListOrder::Activity => ConversationOrder::Activity,
        ListOrder::Name => ConversationOrder::Name,
    };
    let limit = limit.unwrap_or(usize::MAX);
    let (found, more) = conversations(store.as_ref(), &scope, order, limit).await?;
    let value = json!({"success": true, "conversations": found, "more": more});
    Ok(output.answer(&value, |out| {
        if found.is_empty() {
            return writeln!(out, "no conversations of {:?} at {:?}", scope.user(), scope.node());
        }
        let mut lines = table(["conversation", "messages", "tokens", "newest"]);
        for summary in &found {
            let statistics = &summary.statistics;
            lines.add_row([
                printable(&summary.conversation),
                statistics.message_count.to_string(),
                statistics.token_count.to_string(),
                statistics.newest.map(|time| time.to_string()).unwrap_or_default(),
            ]);
        }
        writeln!(out, "{lines}")?;
        if more { writeln!(out, "there are more") } else { Ok(()) }
    })?)
}

pub(crate) async fn truncate(
    conversation: &str,
    after: u64,
    session: &Session,
    output: Output,
) -> Done {
    let memory = session.existing_memory().await?;
    let scope = memory.with_scope(session.scope(KindName::ConversationBuffer)?);
    let removed = scope.conversation(conversation).truncate(after).await?;
    let value = json!({"success": true, "removed": removed});
    Ok(output.answer(&value, |out| writeln!(out, "removed {removed} messages"))?)
}

pub(crate) async fn pop(
    conversation: &str,
    count: usize,
    if_newest: Option<u64>,
    session: &Session,
    output: Output,
) -> Done {
    let memory = session.existing_memory().await?;
    let scope = session.scope(KindName::ConversationBuffer)?;
    let request = Pop { if_newest_seq: if_newest, ..Pop::new(conversation, count) };
    let popped = memory.conversations()?.pop(&scope, &request).await?;
    let messages: Vec<Value> = popped.iter().map(StoredMessage::to_json).collect();
    let value = json!({"success": true, "messages": messages});
    let text = ConversationFormat::Conversation.write(&popped);
    Ok(output.answer(&value, |out| writeln!(out, "{}", printable(&text)))?)
}

pub(crate) async fn delete(names: &[String], session: &Session, output: Output) -> Done {
    let memory = session.existing_memory().await?;
    let scope = memory.with_scope(session.scope(KindName::ConversationBuffer)?);
    let mut deleted = Vec::new();
    for name in names {
        if scope.conversation(name).delete().await? {
            deleted.push(name);
        }
    }
    let value = json!({"success": true, "deleted": deleted});
    Ok(output.answer(&value, |out| {
        let missing = names.len() - deleted.len();
        writeln!(out, "deleted {}, {missing} did not exist", deleted.len())
    })?)
}

/// Lists up to `limit` conversations, and says whether there are more.
async fn conversations(
    store: &dyn ConversationStore,
    scope: &Scope,
    order: ConversationOrder,
    limit: usize,
) -> Result<(Vec<ConversationSummary>, bool), Failure> {
    let mut page = PageRequest::first(limit.min(Limits::CONTRACT.page_items));
    let mut found = Vec::new();
    loop {
        let request = ListConversations { order, page: page.clone() };
        let listed = store.list(scope, &request).await?;
        found.extend(listed.items);
        let Some(next) = listed.next else { return Ok((found, false)) };
        if found.len() >= limit {
            return Ok((found, true));
        }
        page = PageRequest { limit: page.limit.min(limit - found.len()), cursor: Some(next) };
    }
}
