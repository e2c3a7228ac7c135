//! Retention (C4).

use memquill_core::{Facet, HeuristicCounter, Message, Retention, Role, TokenCounter as _};
use serde_json::json;

use crate::scenario::{Family, Test, scenarios};
use crate::support::{Conversation, batch, numbers, weighted};

scenarios! {
    facet: Some(Facet::Conversations), family: Family::Example;
    c4: max_messages_keeps_the_newest [Retention];
    c4: max_tokens_keeps_the_longest_suffix_that_fits [Retention];
    c4: both_limits_hold_together [Retention];
    c4: the_suffix_has_no_holes [Retention];
    c4: the_newest_stays_even_alone_over_the_limit [Retention];
    c4: system_messages_stay_and_count_first [Retention];
    c4: system_messages_over_the_limit_leave_room_for_the_newest_alone [Retention];
    c4: system_messages_go_like_others_unless_kept [Retention];
    c4: a_batch_longer_than_the_limit_evicts_of_itself [Retention];
    c4: evicted_numbers_are_never_used_again [Retention];
    c4: an_append_says_what_it_evicted_and_what_is_left [Retention];
    c4: messages_without_a_count_weigh_what_the_heuristic_counts [Retention];
    c4: token_counts_of_nothing_and_of_billions_add_up [Retention];
    c4: trim_applies_the_same_rule_alone [Retention];
    c4: trim_of_nothing_removes_nothing [Retention];
    c4: retention_agrees_with_the_reference_on_random_transcripts [Retention];
    c4: nothing_is_evicted_without_retention;
}

const SYSTEM: Role = Role::System;
const USER: Role = Role::User;

/// Appends messages of these roles and token counts and gives the numbers of those that stay.
async fn kept(test: &Test, messages: &[(Role, u32)], retention: Retention) -> Vec<u64> {
    let conversation = Conversation::new(test);
    conversation.append_keeping(weighted(messages), retention).await;
    conversation.seqs().await
}

async fn max_messages_keeps_the_newest(test: Test) {
    let conversation = Conversation::new(&test);
    for _ in 0..5 {
        conversation.append_keeping(batch("x", 1), Retention::messages(3)).await;
    }
    assert_eq!(conversation.seqs().await, [3, 4, 5]);
    conversation.append_keeping(batch("y", 1), Retention::messages(10)).await;
    assert_eq!(conversation.seqs().await, [3, 4, 5, 6], "a higher limit evicts nothing");
    conversation.append_keeping(batch("z", 1), Retention::messages(1)).await;
    assert_eq!(conversation.seqs().await, [7]);
}

async fn max_tokens_keeps_the_longest_suffix_that_fits(test: Test) {
    let messages = [(USER, 5), (USER, 1), (USER, 2), (USER, 3)];
    for (max_tokens, expected) in [
        (11, vec![1, 2, 3, 4]),
        (10, vec![2, 3, 4]),
        (6, vec![2, 3, 4]),
        (5, vec![3, 4]),
        (4, vec![4]),
    ] {
        assert_eq!(kept(&test, &messages, Retention::tokens(max_tokens)).await, expected);
    }
}

async fn both_limits_hold_together(test: Test) {
    let messages = [(USER, 1), (USER, 1), (USER, 2), (USER, 3)];
    for (max_messages, max_tokens, expected) in
        [(3, 100, vec![2, 3, 4]), (100, 5, vec![3, 4]), (3, 6, vec![2, 3, 4]), (1, 6, vec![4])]
    {
        let retention =
            Retention { max_tokens: Some(max_tokens), ..Retention::messages(max_messages) };
        assert_eq!(kept(&test, &messages, retention).await, expected, "{retention:?}");
    }
}

async fn the_suffix_has_no_holes(test: Test) {
    let messages = [(USER, 1), (USER, 9), (USER, 1)];
    assert_eq!(kept(&test, &messages, Retention::tokens(5)).await, [3]);
}

async fn the_newest_stays_even_alone_over_the_limit(test: Test) {
    assert_eq!(kept(&test, &[(USER, 1), (USER, 9)], Retention::tokens(5)).await, [2]);
    let conversation = Conversation::new(&test);
    let retention = Retention::tokens(5);
    conversation.append_keeping(weighted(&[(USER, 9)]), retention).await;
    conversation.append_keeping(weighted(&[(USER, 1)]), retention).await;
    assert_eq!(conversation.seqs().await, [2]);
}

async fn system_messages_stay_and_count_first(test: Test) {
    let messages = [(SYSTEM, 4), (USER, 1), (SYSTEM, 4), (USER, 1), (USER, 1)];
    let by_messages = Retention::messages(3).keeping_system();
    assert_eq!(kept(&test, &messages, by_messages).await, [1, 3, 5]);
    let by_tokens = Retention::tokens(9).keeping_system();
    assert_eq!(kept(&test, &messages, by_tokens).await, [1, 3, 5]);
    let roomy = Retention::tokens(10).keeping_system();
    assert_eq!(kept(&test, &messages, roomy).await, [1, 3, 4, 5]);
    // OpenAI's newer name of the role.
    let said = |role: &str| Message::from_chat(&json!({"role": role, "content": "x"})).unwrap();
    let conversation = Conversation::new(&test);
    let messages = ["developer", "user", "developer", "user", "user"].map(said).to_vec();
    conversation.append_keeping(messages, by_messages).await;
    assert_eq!(conversation.seqs().await, [1, 3, 5]);
}

async fn system_messages_over_the_limit_leave_room_for_the_newest_alone(test: Test) {
    let full = Retention::messages(2).keeping_system();
    let newest_is_user = [(SYSTEM, 1), (SYSTEM, 1), (USER, 1), (SYSTEM, 1), (USER, 1)];
    assert_eq!(kept(&test, &newest_is_user, full).await, [1, 2, 4, 5]);
    let newest_is_system = [(SYSTEM, 1), (USER, 1), (SYSTEM, 1), (USER, 1), (SYSTEM, 1)];
    assert_eq!(kept(&test, &newest_is_system, full).await, [1, 3, 5]);
}

async fn system_messages_go_like_others_unless_kept(test: Test) {
    let messages = [(SYSTEM, 1), (USER, 1), (USER, 1)];
    assert_eq!(kept(&test, &messages, Retention::messages(2)).await, [2, 3]);
    let conversation = Conversation::new(&test);
    let keeping = Retention::messages(2).keeping_system();
    conversation.append_keeping(weighted(&messages), keeping).await;
    assert_eq!(conversation.seqs().await, [1, 3]);
    conversation.append_keeping(weighted(&[(USER, 1)]), Retention::messages(3)).await;
    assert_eq!(conversation.seqs().await, [1, 3, 4]);
    conversation.append_keeping(weighted(&[(USER, 1)]), Retention::messages(2)).await;
    assert_eq!(conversation.seqs().await, [4, 5]);
}

async fn a_batch_longer_than_the_limit_evicts_of_itself(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch("old", 2)).await;
    let appended = conversation.append_keeping(batch("new", 5), Retention::messages(3)).await;
    assert_eq!(numbers(&appended), [3, 4, 5, 6, 7]);
    assert_eq!((appended.evicted, appended.message_count), (4, 3));
    assert_eq!(conversation.texts().await, ["new 2", "new 3", "new 4"]);
}

async fn evicted_numbers_are_never_used_again(test: Test) {
    let conversation = Conversation::new(&test);
    for expected in 1..=20 {
        let connection = test.connect().await;
        let here = conversation.over(&connection);
        let appended = here.append_keeping(batch("x", 1), Retention::messages(1)).await;
        assert_eq!(numbers(&appended), [expected]);
    }
    conversation.clear().await;
    assert_eq!(numbers(&conversation.append(batch("x", 1)).await), [21]);
}

async fn an_append_says_what_it_evicted_and_what_is_left(test: Test) {
    let conversation = Conversation::new(&test);
    let retention = Retention::tokens(10);
    let first = conversation.append_keeping(weighted(&[(USER, 4), (USER, 5)]), retention).await;
    assert_eq!((first.evicted, first.message_count, first.token_count), (0, 2, 9));
    let second = conversation.append_keeping(weighted(&[(USER, 3)]), retention).await;
    assert_eq!((second.evicted, second.message_count, second.token_count), (1, 2, 8));
    let third = conversation.append_keeping(weighted(&[(USER, 12)]), retention).await;
    assert_eq!((third.evicted, third.message_count, third.token_count), (2, 1, 12));
    let statistics = conversation.statistics().await;
    assert_eq!((statistics.message_count, statistics.token_count), (1, 12));
}

async fn messages_without_a_count_weigh_what_the_heuristic_counts(test: Test) {
    let conversation = Conversation::new(&test);
    let messages = ["a cat", "東京は日本の首都です", "привет, мир!"].map(Message::user);
    let weights = messages.each_ref().map(|m| u64::from(HeuristicCounter.count_message(m)));
    let retention = Retention::tokens(weights[1] + weights[2]);
    let appended = conversation.append_keeping(messages.to_vec(), retention).await;
    assert_eq!(appended.token_count, weights[1] + weights[2]);
    assert_eq!(conversation.seqs().await, [2, 3]);
}

async fn token_counts_of_nothing_and_of_billions_add_up(test: Test) {
    let conversation = Conversation::new(&test);
    let messages = weighted(&[(USER, u32::MAX), (USER, 0), (USER, u32::MAX), (USER, 0)]);
    let appended = conversation.append(messages).await;
    assert_eq!(appended.token_count, 2 * u64::from(u32::MAX));
    assert_eq!(conversation.trim(Retention::tokens(u64::MAX)).await, 0);
    assert_eq!(conversation.trim(Retention::tokens(u64::from(u32::MAX))).await, 1);
    assert_eq!(conversation.seqs().await, [2, 3, 4]);
    assert_eq!(conversation.trim(Retention::messages(u64::MAX)).await, 0);
    assert_eq!(conversation.trim(Retention::tokens(1)).await, 2);
    assert_eq!(conversation.statistics().await.token_count, 0);
}

async fn trim_applies_the_same_rule_alone(test: Test) {
    let messages =
        [(SYSTEM, 3), (USER, 5), (Role::Assistant, 2), (SYSTEM, 1), (Role::Tool, 4), (USER, 1)];
    for retention in [
        Retention::messages(3),
        Retention::messages(3).keeping_system(),
        Retention::tokens(7),
        Retention::tokens(7).keeping_system(),
        Retention::tokens(1),
        Retention { max_tokens: Some(9), ..Retention::messages(4).keeping_system() },
    ] {
        let conversation = Conversation::new(&test);
        conversation.append(weighted(&messages)).await;
        let went = conversation.trim(retention).await;
        let left = conversation.seqs().await;
        assert_eq!(left, kept(&test, &messages, retention).await, "{retention:?}");
        assert_eq!(went + left.len() as u64, 6, "{retention:?}");
        assert_eq!(conversation.trim(retention).await, 0, "a second time");
    }
}

async fn trim_of_nothing_removes_nothing(test: Test) {
    let conversation = Conversation::new(&test);
    assert_eq!(conversation.trim(Retention::messages(1)).await, 0);
    assert_eq!(conversation.state().await, Default::default());
    conversation.append(batch("x", 2)).await;
    assert_eq!(conversation.trim(Retention::default()).await, 0, "no limit keeps all");
    conversation.clear().await;
    assert_eq!(conversation.trim(Retention::messages(1)).await, 0);
    assert_eq!(conversation.statistics().await.last_seq, 2);
}

async fn retention_agrees_with_the_reference_on_random_transcripts(test: Test) {
    let mut dice = fastrand::Rng::with_seed(test.random_seed());
    for _ in 0..6 {
        let conversation = Conversation::new(&test);
        // What the reference keeps: number, role, tokens.
        let mut model: Vec<(u64, Role, u32)> = Vec::new();
        let mut last_seq = 0;
        for _ in 0..12 {
            let retention = random_retention(&mut dice, last_seq);
            let added: Vec<(Role, u32)> = (0..dice.u64(..4))
                .map(|_| {
                    let roles = [SYSTEM, USER, Role::Assistant, Role::Tool];
                    (roles[dice.usize(..roles.len())], dice.u32(..8))
                })
                .collect();
            let before = model.len();
            for &(role, tokens) in &added {
                last_seq += 1;
                model.push((last_seq, role, tokens));
            }
            let weighed = model.clone();
            let mut stays = retention.keeps(&weighed).into_iter();
            model.retain(|_| stays.next().unwrap());
            let evicted = (before + added.len() - model.len()) as u64;
            if added.is_empty() {
                assert_eq!(conversation.trim(retention).await, evicted);
            } else {
                let appended = conversation.append_keeping(weighted(&added), retention).await;
                assert_eq!(appended.evicted, evicted);
            }
            let expected: Vec<u64> = model.iter().map(|(seq, ..)| *seq).collect();
            assert_eq!(conversation.seqs().await, expected, "{retention:?} on {weighed:?}");
        }
        let tokens: u64 = model.iter().map(|(.., tokens)| u64::from(*tokens)).sum();
        let statistics = conversation.statistics().await;
        assert_eq!((statistics.token_count, statistics.last_seq), (tokens, last_seq));
    }
}

fn random_retention(dice: &mut fastrand::Rng, last_seq: u64) -> Retention {
    let max_messages = (dice.u32(..3) > 0).then(|| dice.u64(1..=8));
    let max_tokens = (dice.u32(..3) > 0).then(|| dice.u64(1..=30));
    let up_to_seq = (dice.u32(..4) == 0).then(|| dice.u64(..=last_seq));
    Retention { max_messages, max_tokens, keep_system: dice.bool(), up_to_seq }
}

async fn nothing_is_evicted_without_retention(test: Test) {
    let conversation = Conversation::new(&test);
    for _ in 0..3 {
        assert_eq!(conversation.append(batch("x", 100)).await.evicted, 0);
    }
    assert_eq!(conversation.seqs().await.len(), 300);
}
