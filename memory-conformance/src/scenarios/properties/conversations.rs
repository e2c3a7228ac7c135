//! Conversations compared with the model.

use std::sync::Arc;
use std::time::Duration;

use memquill_core::{
    Append, ConversationOrder, ConversationStatistics, ConversationStore as _, ConversationSummary,
    Facet, Feature, Lineage, ListConversations, ManualClock, Message, PageRequest, Pop,
    ReadMessages, RestoreMessages, Retention, Role, StoredMessage, Timestamp, Trim, Truncate,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::select;

use super::{holds, maybe, same};
use crate::model::{Conversations, follow};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Conversations), family: Family::Property;
    c1: conversations_answer_as_the_model_does;
    c3: retries_answer_as_the_model_does [SafeRetry];
    c4: retention_answers_as_the_model_does [Retention];
    c11: restores_answer_as_the_model_does [Restoring];
}

#[derive(Debug, Clone)]
enum Op {
    Append(Append),
    /// The times stand for those of the messages at these places, where there are such.
    Read(ReadMessages, Option<usize>, Option<usize>),
    Trim(Trim),
    Restore(RestoreMessages),
    Clear(String),
    Statistics(String),
    List(ConversationOrder, usize),
    Delete(String),
    Truncate(Truncate),
    Pop(Pop),
}

fn conversation() -> impl Strategy<Value = String> {
    select(vec!["a", "A", "a%"]).prop_map(String::from)
}

fn message() -> impl Strategy<Value = Message> {
    let content = select(vec!["!", "one", "two words", "好", "a longer message, with a mark!"]);
    (select(Role::ALL.to_vec()), content, option::of(0..20_u32)).prop_map(
        |(role, content, token_count)| Message { token_count, ..Message::new(role, content) },
    )
}

fn messages(with_ids: bool) -> impl Strategy<Value = Vec<Message>> {
    let id = maybe(if with_ids { 0.8 } else { 0.0 }, 0..6_u32);
    vec((message(), id), 1..4).prop_map(|messages| {
        let mut batch: Vec<Message> = Vec::new();
        for (mut message, id) in messages {
            message.id = id.map(|id| format!("id {id}"));
            if message.id.is_none() || batch.iter().all(|earlier| earlier.id != message.id) {
                batch.push(message);
            }
        }
        batch
    })
}

fn retention() -> impl Strategy<Value = Retention> {
    let up_to_seq = option::weighted(0.3, 0..25_u64);
    (option::of(1..6_u64), option::of(1..40_u64), any::<bool>(), up_to_seq).prop_map(
        |(max_messages, max_tokens, keep_system, up_to_seq)| Retention {
            max_messages,
            max_tokens,
            keep_system,
            up_to_seq,
        },
    )
}

fn append(with_ids: bool, retained: f64) -> impl Strategy<Value = Op> {
    (conversation(), messages(with_ids), maybe(retained, retention())).prop_map(
        |(conversation, messages, retention)| {
            Op::Append(Append { conversation, messages, retention })
        },
    )
}

fn read() -> impl Strategy<Value = Op> {
    let seq = || option::of(0..25_u64);
    let place = || option::weighted(0.3, 0..20_usize);
    let roles = vec(select(Role::ALL.to_vec()), 0..3);
    (conversation(), option::of(1..6_usize), roles, (seq(), seq()), (place(), place())).prop_map(
        |(conversation, limit, roles, (after_seq, before_seq), (since, until))| {
            let request = ReadMessages {
                limit,
                roles,
                after_seq,
                before_seq,
                ..ReadMessages::all(conversation)
            };
            Op::Read(request, since, until)
        },
    )
}

fn if_newest_seq() -> impl Strategy<Value = Option<u64>> {
    option::weighted(0.3, 0..25_u64)
}

fn truncate() -> impl Strategy<Value = Op> {
    (conversation(), 0..25_u64, if_newest_seq()).prop_map(
        |(conversation, after_seq, if_newest_seq)| {
            Op::Truncate(Truncate { conversation, after_seq, if_newest_seq })
        },
    )
}

fn pop() -> impl Strategy<Value = Op> {
    (conversation(), 1..5_usize, if_newest_seq()).prop_map(
        |(conversation, count, if_newest_seq)| Op::Pop(Pop { conversation, count, if_newest_seq }),
    )
}

fn order() -> impl Strategy<Value = ConversationOrder> {
    select(vec![ConversationOrder::Name, ConversationOrder::Activity])
}

fn sequence(with_ids: bool, retained: f64) -> impl Strategy<Value = Vec<Op>> {
    let trims = if retained > 0.0 { 2 } else { 0 };
    let trim = (conversation(), retention())
        .prop_map(|(conversation, retention)| Op::Trim(Trim::new(conversation, retention)));
    let op = prop_oneof![
        12 => append(with_ids, retained),
        6 => read(),
        trims => trim,
        1 => conversation().prop_map(Op::Clear),
        3 => conversation().prop_map(Op::Statistics),
        2 => (order(), 1..4_usize).prop_map(|(order, limit)| Op::List(order, limit)),
        1 => conversation().prop_map(Op::Delete),
        2 => truncate(),
        2 => pop(),
    ];
    vec(op, 1..40)
}

/// Messages of rising numbers, in steps that leave holes, and a last number that may be higher.
fn restore() -> impl Strategy<Value = Op> {
    let steps = vec((1..4_u64, message()), 0..5);
    let lineage = (0..3_u64, 0..20_u64).prop_map(|(revision, summarized_through)| Lineage {
        revision,
        summarized_through,
        ..Lineage::default()
    });
    let beyond = (0..3_u64, lineage);
    (conversation(), 0..20_u64, steps, beyond).prop_map(
        |(conversation, from, steps, (beyond, lineage))| {
            let mut seq = from;
            let messages: Vec<StoredMessage> = steps
                .into_iter()
                .map(|(step, message)| {
                    seq += step;
                    StoredMessage { seq, created_at: restored_at(seq), message }
                })
                .collect();
            let last_seq = (seq + beyond).max(1);
            let lineage = Lineage { incarnation: 7, ..lineage };
            Op::Restore(RestoreMessages { conversation, messages, last_seq, lineage })
        },
    )
}

fn restored_at(seq: u64) -> Timestamp {
    Timestamp::from_millis(1_577_836_800_000).unwrap().saturating_add(Duration::from_secs(seq))
}

async fn restores_answer_as_the_model_does(test: Test) {
    let retained = |test: &Test| if test.has(Feature::Retention) { 0.3 } else { 0.0 };
    let sequence = move |test: &Test| {
        let others = sequence(false, retained(test));
        // Something is restored again and again among the rest, so that it meets itself.
        (others, vec(restore(), 1..8), vec(0..64_usize, 1..16)).prop_map(
            |(mut ops, new, places)| {
                for (at, place) in places.into_iter().enumerate() {
                    ops.insert(place % (ops.len() + 1), new[at % new.len()].clone());
                }
                ops
            },
        )
    };
    holds(&test, sequence, compare).await;
}

async fn conversations_answer_as_the_model_does(test: Test) {
    holds(&test, |_| sequence(false, 0.0), compare).await;
}

async fn retries_answer_as_the_model_does(test: Test) {
    let retained = |test: &Test| if test.has(Feature::Retention) { 0.2 } else { 0.0 };
    holds(&test, move |test| sequence(true, retained(test)), compare).await;
}

async fn retention_answers_as_the_model_does(test: Test) {
    holds(&test, |_| sequence(false, 0.8), compare).await;
}

/// The statistics without the incarnation, which each store draws by itself.
fn unnamed(mut statistics: ConversationStatistics) -> ConversationStatistics {
    statistics.lineage.incarnation = 0;
    statistics
}

async fn compare(test: Test, ops: Vec<Op>) -> Result<(), String> {
    let clock = Arc::new(ManualClock::new(Timestamp::MIN));
    let model = Conversations::new(Arc::clone(&clock) as _);
    let (store, scope) = (test.conversations(), test.scope());
    for op in ops {
        match &op {
            Op::Append(request) => {
                let stored = store.append(&scope, request).await;
                if let Ok(stored) = &stored {
                    stored.messages.iter().for_each(|message| follow(&clock, message.created_at));
                }
                same(&op, &stored, &model.append(&scope, request).await)?;
            }
            Op::Read(request, since, until) => {
                let all = ReadMessages::all(request.conversation.clone());
                let all = model.read(&scope, &all).await.map_err(|error| error.to_string())?;
                let time = |place: &Option<usize>| {
                    all.messages.get((*place)?).map(|message: &StoredMessage| message.created_at)
                };
                let request =
                    ReadMessages { since: time(since), until: time(until), ..request.clone() };
                let read = store.read(&scope, &request).await;
                same(&request, &read, &model.read(&scope, &request).await)?;
            }
            Op::Trim(request) => {
                let trimmed = store.trim(&scope, request).await;
                same(&op, &trimmed, &model.trim(&scope, request).await)?;
            }
            Op::Restore(request) => {
                let restored = store.restore(&scope, request).await;
                same(&op, &restored, &model.restore(&scope, request).await)?;
            }
            Op::Clear(name) => {
                let cleared = store.clear(&scope, name).await;
                same(&op, &cleared, &model.clear(&scope, name).await)?;
            }
            Op::Truncate(request) => {
                let truncated = store.truncate(&scope, request).await;
                same(&op, &truncated, &model.truncate(&scope, request).await)?;
            }
            Op::Pop(request) => {
                let popped = store.pop(&scope, request).await;
                same(&op, &popped, &model.pop(&scope, request).await)?;
            }
            Op::Delete(name) => {
                let deleted = store.delete(&scope, name).await;
                same(&op, &deleted, &model.delete(&scope, name).await)?;
            }
            Op::Statistics(name) => {
                let statistics = store.statistics(&scope, name).await.map(unnamed);
                let expected = model.statistics(&scope, name).await.map(unnamed);
                same(&op, &statistics, &expected)?;
            }
            Op::List(order, limit) => {
                let mut listed = Vec::new();
                let page = PageRequest::first(*limit);
                let mut request = ListConversations { order: *order, page };
                loop {
                    let part = store.list(&scope, &request).await.map_err(|e| format!("{e:?}"))?;
                    listed.extend(part.items);
                    let Some(next) = part.next else { break };
                    request.page = request.page.after(next);
                }
                let all = ListConversations { order: *order, page: PageRequest::first(100) };
                let all = model.list(&scope, &all).await;
                let unnamed = |summaries: Vec<ConversationSummary>| -> Vec<ConversationSummary> {
                    let each = summaries.into_iter().map(|summary| ConversationSummary {
                        statistics: unnamed(summary.statistics),
                        ..summary
                    });
                    each.collect()
                };
                let expected = all.map(|page| unnamed(page.items));
                same(&op, &Ok(unnamed(listed)), &expected)?;
            }
        }
    }
    Ok(())
}
