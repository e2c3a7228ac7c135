//! Many connections at once on one conversation (C1, C3, C4, C9, G5, G7).

use std::collections::HashSet;

use memquill_core::{Backend, Facet, Message, Pop, ReadMessages, Retention, Truncate};

use crate::scenario::{Family, Test, scenarios};
use crate::support::{
    Conversation, batch, batch_with_ids, conflict, numbers, polled_at_most, seqs, together,
};

scenarios! {
    facet: Some(Facet::Conversations), family: Family::Concurrency;
    c1: concurrent_appends_leave_no_gap_and_no_repeat;
    c1: concurrent_first_appends_begin_one_conversation;
    c3: concurrent_retries_store_a_batch_once [SafeRetry];
    c3: overlapping_batches_store_no_message_twice [SafeRetry];
    c3: a_retry_that_races_with_eviction_stores_nothing_twice [SafeRetry, Retention];
    c4: statistics_stay_exact_while_many_evict [Retention];
    c9: what_many_append_and_clear_is_counted_once;
    c14: every_message_is_popped_once;
    c14: what_is_appended_meanwhile_is_not_truncated_unseen;
    c14: a_pop_that_is_dropped_is_done_or_not_done;
    g5: a_reader_sees_whole_batches_only;
    g5: a_reader_never_sees_more_than_retention_keeps [Retention];
    g7: an_append_that_is_dropped_is_done_or_not_done;
}

/// Several connections, the scenario's own among them.
async fn connections(test: &Test, count: usize) -> Vec<Backend> {
    let mut connections = vec![test.backend().clone()];
    for _ in 1..count {
        connections.push(test.connect().await);
    }
    connections
}

async fn concurrent_appends_leave_no_gap_and_no_repeat(test: Test) {
    const ROUNDS: usize = 12;
    const ITEMS: usize = 3;
    let conversation = Conversation::new(&test);
    let connections = connections(&test, 4).await;
    let given = together((0..8).map(|task| {
        let conversation = conversation.over(&connections[task % 4]);
        async move {
            let mut given = Vec::new();
            for round in 0..ROUNDS {
                let appended = conversation.append(batch(&format!("{task}-{round}"), ITEMS)).await;
                given.push((format!("{task}-{round}"), numbers(&appended)));
            }
            given
        }
    }))
    .await;
    let total = 8 * ROUNDS * ITEMS;
    let read = conversation.read().await;
    assert_eq!(seqs(&read), (1..=total as u64).collect::<Vec<_>>());
    for task in &given {
        assert!(task.is_sorted_by(|(_, a), (_, b)| a < b), "a task's batches stand in its order");
        for (label, numbers) in task {
            let first = usize::try_from(numbers[0]).unwrap() - 1;
            let stored: Vec<_> = read[first..first + ITEMS].iter().map(|m| &m.message).collect();
            assert_eq!(stored, batch(label, ITEMS).iter().collect::<Vec<_>>());
            assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
        }
    }
    assert_eq!(conversation.statistics().await.message_count, total as u64);
}

async fn concurrent_first_appends_begin_one_conversation(test: Test) {
    let connections = connections(&test, 4).await;
    let first = Conversation::new(&test);
    for round in 0..8 {
        let conversation = first.sibling(&format!("c{round}"));
        let appended = together((0..8).map(|task: usize| {
            let conversation = conversation.over(&connections[task % 4]);
            async move { numbers(&conversation.append(batch("x", 1)).await)[0] }
        }))
        .await;
        let mut given = appended;
        given.sort_unstable();
        assert_eq!(given, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(conversation.seqs().await, given);
    }
}

async fn concurrent_retries_store_a_batch_once(test: Test) {
    let conversation = Conversation::new(&test);
    let connections = connections(&test, 4).await;
    for round in 0..6 {
        let label = format!("round {round}");
        let appended = together((0..8).map(|task: usize| {
            let conversation = conversation.over(&connections[task % 4]);
            let messages = batch_with_ids(&label, 5);
            async move { conversation.append(messages).await }
        }))
        .await;
        assert_eq!(appended.iter().filter(|a| !a.replayed).count(), 1);
        assert!(appended.iter().all(|a| a.messages == appended[0].messages));
    }
    assert_eq!(conversation.seqs().await, (1..=30).collect::<Vec<_>>());
}

async fn overlapping_batches_store_no_message_twice(test: Test) {
    let conversation = Conversation::new(&test);
    let connections = connections(&test, 4).await;
    let messages = batch_with_ids("m", 24);
    // Task n appends the messages 2n to 2n + 3: each stands in two batches.
    let stored: usize = together((0..8).map(|task: usize| {
        let conversation = conversation.over(&connections[task % 4]);
        let overlapping = messages[2 * task..2 * task + 4].to_vec();
        async move {
            match conversation.try_append(overlapping).await {
                Ok(appended) if appended.replayed => 0, // by its two neighbours together
                Ok(appended) => appended.messages.len(),
                refused => {
                    conflict(refused);
                    0
                }
            }
        }
    }))
    .await
    .into_iter()
    .sum();
    let texts = conversation.texts().await;
    assert_eq!(texts.len(), stored);
    assert_eq!(texts.iter().collect::<HashSet<_>>().len(), stored, "{texts:?}");
    assert_eq!(conversation.seqs().await, (1..=stored as u64).collect::<Vec<_>>());
}

async fn a_retry_that_races_with_eviction_stores_nothing_twice(test: Test) {
    let conversation = Conversation::new(&test);
    let connections = connections(&test, 4).await;
    together((0..8).map(|task: usize| {
        let conversation = conversation.over(&connections[task % 4]);
        async move {
            for round in 0..8 {
                // Every batch is appended by two tasks, and evicts most of what is there.
                let label = format!("{}-{round}", task / 2);
                let messages = batch_with_ids(&label, 3);
                conversation.append_keeping(messages, Retention::messages(2)).await;
            }
        }
    }))
    .await;
    let statistics = conversation.statistics().await;
    assert_eq!((statistics.last_seq, statistics.message_count), (4 * 8 * 3, 2));
}

async fn statistics_stay_exact_while_many_evict(test: Test) {
    let conversation = Conversation::new(&test);
    let connections = connections(&test, 4).await;
    let keeping = Retention { max_tokens: Some(60), ..Retention::messages(7).keeping_system() };
    conversation.append(vec![Message::system("stay")]).await;
    let evicted: u64 = together((0..8).map(|task: usize| {
        let conversation = conversation.over(&connections[task % 4]);
        async move {
            let mut evicted = 0;
            for round in 0..10 {
                let messages = batch(&format!("{task} {round}"), 1 + round % 3);
                evicted += conversation.append_keeping(messages, keeping).await.evicted;
                if round % 4 == 3 {
                    evicted += conversation.trim(Retention::messages(5).keeping_system()).await;
                }
            }
            evicted
        }
    }))
    .await
    .into_iter()
    .sum();
    let (messages, statistics) = conversation.state().await;
    let tokens: u64 = messages.iter().map(|m| u64::from(m.message.tokens())).sum();
    assert_eq!(statistics.message_count, messages.len() as u64);
    assert_eq!(statistics.token_count, tokens);
    assert_eq!((statistics.system_count, messages[0].message.text()), (1, "stay"));
    assert_eq!(statistics.last_seq, statistics.message_count + evicted);
    assert!(messages.len() <= 7 && tokens <= 60);
}

async fn what_many_append_and_clear_is_counted_once(test: Test) {
    let conversation = Conversation::new(&test);
    let connections = connections(&test, 4).await;
    let cleared: u64 = together((0..8).map(|task: usize| {
        let conversation = conversation.over(&connections[task % 4]);
        async move {
            let mut cleared = 0;
            for _ in 0..10 {
                if task == 0 {
                    cleared += conversation.clear().await;
                } else {
                    conversation.append(batch("x", 2)).await;
                }
            }
            cleared
        }
    }))
    .await
    .into_iter()
    .sum();
    let statistics = conversation.statistics().await;
    assert_eq!(statistics.last_seq, 7 * 10 * 2);
    assert_eq!(cleared + statistics.message_count, statistics.last_seq);
    let left = conversation.seqs().await;
    let first = statistics.last_seq - statistics.message_count + 1;
    assert_eq!(left, (first..=statistics.last_seq).collect::<Vec<_>>());
}

/// Appends batches of `items` while another connection reads; `check` looks at every read.
async fn read_while_appending(
    test: &Test,
    items: usize,
    retention: Option<Retention>,
    check: fn(&memquill_core::Messages),
) {
    let writer = Conversation::new(test);
    let reader = writer.over(&test.connect().await);
    let write = tokio::spawn(async move {
        for round in 0..60 {
            let messages = batch(&round.to_string(), items);
            match retention {
                Some(retention) => writer.append_keeping(messages, retention).await,
                None => writer.append(messages).await,
            };
        }
    });
    while !write.is_finished() {
        check(&reader.read_with(ReadMessages::default()).await);
        tokio::task::yield_now().await;
    }
    write.await.unwrap();
    check(&reader.read_with(ReadMessages::default()).await);
}

async fn a_reader_sees_whole_batches_only(test: Test) {
    read_while_appending(&test, 10, None, |read| {
        assert_eq!(read.messages.len() % 10, 0, "part of a batch");
        assert_eq!(read.total, read.messages.len() as u64);
        assert_eq!(seqs(&read.messages), (1..=read.total).collect::<Vec<_>>());
    })
    .await;
}

async fn a_reader_never_sees_more_than_retention_keeps(test: Test) {
    read_while_appending(&test, 3, Some(Retention::messages(6)), |read| {
        assert!(read.messages.len() <= 6, "{} messages", read.messages.len());
        assert_eq!(read.total, read.messages.len() as u64);
        assert!(seqs(&read.messages).windows(2).all(|pair| pair[0] + 1 == pair[1]));
    })
    .await;
}

async fn an_append_that_is_dropped_is_done_or_not_done(test: Test) {
    let conversation = Conversation::new(&test);
    for polls in 0..100 {
        let append = conversation.try_append(batch(&polls.to_string(), 3));
        let finished = polled_at_most(polls, append).await.map(Result::unwrap).is_some();
        let read = conversation.read().await;
        assert_eq!(read.len() % 3, 0, "half a batch after {polls} polls");
        if finished && polls > 2 {
            break;
        }
    }
    conversation.append(batch("last", 3)).await;
    let read = conversation.read().await;
    assert_eq!(seqs(&read), (1..=read.len() as u64).collect::<Vec<_>>());
    for stored in read.chunks(3) {
        let (label, _) = stored[0].message.text().split_once(' ').unwrap();
        let texts: Vec<_> = stored.iter().map(|m| m.message.clone()).collect();
        assert_eq!(texts, batch(label, 3));
    }
}

async fn every_message_is_popped_once(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch("m", 60)).await;
    let connections = connections(&test, 4).await;
    let popped = together((0..8).map(|task| {
        let conversation = conversation.over(&connections[task % 4]);
        async move {
            let mut popped = Vec::new();
            for round in 0..4 {
                popped.extend(seqs(&conversation.pop(2).await));
                if round == 1 {
                    conversation.append(batch("late", 1)).await;
                }
            }
            popped
        }
    }))
    .await;
    let mut popped = popped.concat();
    assert_eq!(popped.len(), 64);
    popped.extend(conversation.seqs().await);
    popped.sort_unstable();
    assert_eq!(popped, (1..=68).collect::<Vec<_>>());
    let (messages, statistics) = conversation.state().await;
    assert_eq!(statistics.message_count, messages.len() as u64);
    assert_eq!(statistics.lineage.revision, 32);
}

async fn what_is_appended_meanwhile_is_not_truncated_unseen(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch("m", 1)).await;
    let connections = connections(&test, 4).await;
    let answers = together((0..8).map(|task| {
        let conversation = conversation.over(&connections[task % 4]);
        async move {
            let (mut appended, mut removed) = (0, 0);
            for round in 0..10 {
                if task % 2 == 0 {
                    conversation.append(batch(&format!("{task}-{round}"), 1)).await;
                    appended += 1;
                    continue;
                }
                // The last message is taken back, if it is still the last.
                let Some(seen) = conversation.seqs().await.last().copied() else { continue };
                let request = Truncate::new(conversation.name(), seen - 1).if_newest_seq(seen);
                let answer = conversation.store().truncate(conversation.scope(), &request).await;
                match answer {
                    Ok(count) => {
                        assert_eq!(count, 1);
                        removed += 1;
                    }
                    Err(_) => drop(conflict(answer)),
                }
            }
            (appended, removed)
        }
    }))
    .await;
    let appended: u64 = answers.iter().map(|(appended, _)| appended).sum();
    let removed: u64 = answers.iter().map(|(_, removed)| removed).sum();
    let statistics = conversation.statistics().await;
    assert_eq!(statistics.last_seq, 1 + appended);
    assert_eq!(statistics.message_count, 1 + appended - removed);
    assert_eq!(statistics.lineage.revision, removed);
}

async fn a_pop_that_is_dropped_is_done_or_not_done(test: Test) {
    let conversation = Conversation::new(&test);
    for polls in 0..100 {
        conversation.append(batch("m", 6)).await;
        let before = conversation.seqs().await;
        let request = Pop::new(conversation.name(), 3);
        let pop = conversation.store().pop(conversation.scope(), &request);
        let finished = polled_at_most(polls, pop).await.map(Result::unwrap).is_some();
        conversation.append(batch("next", 1)).await;
        let (messages, statistics) = conversation.state().await;
        let left = &messages[..messages.len() - 1];
        assert!(
            seqs(left) == before || seqs(left) == before[..before.len() - 3],
            "half a pop after {polls} polls"
        );
        assert_eq!(statistics.message_count, messages.len() as u64);
        if finished && polls > 2 {
            break;
        }
    }
}
