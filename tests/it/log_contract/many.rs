//! The next events of many generations in one answer, which has a bound in bytes.
use std::collections::HashMap;

use lastword::ports::PAGE_BYTES;

use super::*;

/// So many are in one page.
const BYTES: usize = 300_000;
const LAST: u64 = 5;

/// Events of which each has many bytes; that of `long` has a row that is read by itself.
fn said(at: &Address, long: Option<u64>) -> Append {
    let text = |n| "x".repeat(if long == Some(n) { 8 * BYTES } else { BYTES });
    let entry = |n| Entry::encode(Seq(n), &Event::Delta { text: text(n) }).by(Epoch(1));
    let entries = (2..=LAST).map(entry).collect();
    Append { at: at.clone(), epoch: Epoch(1), entries, row: RowChange::None }
}

#[tokio::test]
async fn many_logs_are_read_within_the_bytes_of_a_page() {
    let bench = bench().await;
    let mut writer = bench.log.events.writer(bench.owner);
    let mut logs = HashMap::new();
    for n in 0..6 {
        let said = said(&bench.generation().await, (n == 2).then_some(3));
        append(writer.as_mut(), &said).await.unwrap();
        logs.insert(said.at.id, said);
    }
    for folded in [false, true] {
        let mut read: HashMap<GenerationId, Vec<Entry>> = HashMap::new();
        for round in 0.. {
            let after = |id| read.get(id).and_then(|had| had.last()).map_or(Seq(1), |e| e.seq);
            let mut wanted: Vec<_> =
                logs.iter().map(|(id, said)| (said.at.clone(), after(id))).collect();
            wanted.rotate_left(round % logs.len());
            let found = bench.log.events.read_many(&wanted, 100).await.unwrap();
            let entries = || found.values().flat_map(|page| &page.entries);
            let sizes = || entries().map(|entry| entry.json().len());
            let before_last = sizes().sum::<usize>() - sizes().max().unwrap_or_default();
            assert!(before_last <= PAGE_BYTES as usize, "{before_last} bytes and a row, {folded}");
            assert_eq!(found.is_empty(), read.values().map(Vec::len).sum::<usize>() == 24);
            if found.is_empty() {
                break;
            }
            // Each in its turn: none has a second one while another waits for its first.
            let waits = found.values().any(|page| page.entries.is_empty());
            assert!(found.values().all(|page| page.entries.len() <= 1 || !waits), "{folded}");
            assert!(found.contains_key(&wanted[0].0.id) || after(&wanted[0].0.id) == Seq(LAST));
            for (id, page) in found {
                assert!(page.cut || !page.entries.is_empty(), "nothing without news");
                read.entry(id).or_default().extend(page.entries);
            }
        }
        assert!(logs.iter().all(|(id, said)| read[id] == said.entries), "all of each, {folded}");
        while bench.log.upkeep.compact(bench.owner).await.unwrap() > 0 {}
    }
    // What a segment has and its reader, too, takes no place.
    let (small, rest): (Vec<_>, Vec<_>) = {
        let mut all: Vec<_> = logs.values().map(|said| said.at.clone()).collect();
        let small = all.split_off(5);
        (small, all)
    };
    append(writer.as_mut(), &deltas(&small[0], 1, LAST + 1..=LAST + 1)).await.unwrap();
    let wanted: Vec<_> = rest.iter().chain(&small).map(|at| (at.clone(), Seq(LAST))).collect();
    let found = bench.log.events.read_many(&wanted, 100).await.unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), [&small[0].id]);
    assert_eq!((found[&small[0].id].entries.len(), found[&small[0].id].cut), (1, false));
}
