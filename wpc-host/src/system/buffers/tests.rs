use super::*;

fn buffers() -> Buffers {
    Buffers::new(Arc::new(EpochTicker::new()))
}

fn usage(buffers: &Buffers) -> (usize, usize) {
    let BufferUsage { idle_buffers, idle_bytes } = buffers.usage();
    (idle_buffers, idle_bytes)
}

#[test]
fn a_large_buffer_is_reused_if_it_fits() {
    let buffers = buffers();
    let mut buffer = buffers.take(LARGE);
    buffer.extend([7; 10]);
    let (address, capacity) = (buffer.as_ptr(), buffer.capacity());
    buffers.put(buffer);
    assert_eq!(usage(&buffers), (1, capacity));
    let larger = buffers.take(capacity + 1);
    assert_ne!(larger.as_ptr(), address, "too small");
    let half = buffers.take(LARGE / 2 - 1);
    assert_ne!(half.as_ptr(), address, "half of it would be wasted");
    let again = buffers.take(LARGE);
    assert_eq!((again.as_ptr(), again.len()), (address, 0));
    assert_eq!(usage(&buffers), (0, 0));
}

#[test]
fn small_buffers_are_not_kept() {
    let buffers = buffers();
    buffers.put(Vec::with_capacity(LARGE - 1));
    assert_eq!(usage(&buffers), (0, 0));
    assert!(buffers.take(10).capacity() >= 10);
}

#[test]
fn the_list_is_bounded_in_bytes_and_count_and_evicts_the_oldest() {
    let buffers = buffers();
    buffers.put(Vec::with_capacity(MAX_IDLE_BYTES + 1));
    assert_eq!(usage(&buffers), (0, 0));
    for len in [MAX_IDLE_BYTES / 2, MAX_IDLE_BYTES / 2 + 1, MAX_IDLE_BYTES / 4] {
        buffers.put(Vec::with_capacity(len));
    }
    assert_eq!(usage(&buffers), (2, MAX_IDLE_BYTES / 2 + 1 + MAX_IDLE_BYTES / 4));
    for _ in 0..2 * MAX_IDLE_BUFFERS {
        buffers.put(Vec::with_capacity(LARGE));
    }
    assert_eq!(usage(&buffers), (MAX_IDLE_BUFFERS, MAX_IDLE_BUFFERS * LARGE));
}

#[test]
fn a_buffer_that_is_not_taken_for_a_period_is_freed() {
    let buffers = buffers();
    let start = time::now();
    assert_eq!(buffers.due(start), None);
    buffers.put(Vec::with_capacity(LARGE));
    assert!(buffers.due(start).is_some_and(|due| due <= PERIOD));
    buffers.age(start + PERIOD / 2);
    buffers.age(start + PERIOD);
    assert_eq!(
        buffers.due(start + PERIOD),
        Some(PERIOD),
        "the buffer is new, so it stays for another period"
    );
    // This buffer was put within the period, so it stays.
    buffers.put(Vec::with_capacity(2 * LARGE));
    buffers.age(start + 2 * PERIOD);
    assert_eq!(usage(&buffers), (1, 2 * LARGE));
    buffers.age(start + 3 * PERIOD);
    assert_eq!(usage(&buffers), (0, 0));
    assert_eq!(buffers.due(start + 3 * PERIOD), None);
}

#[test]
fn a_closed_list_is_empty_until_it_is_opened() {
    let buffers = buffers();
    buffers.put(Vec::with_capacity(LARGE));
    buffers.close();
    buffers.put(Vec::with_capacity(LARGE));
    assert_eq!(usage(&buffers), (0, 0));
    buffers.open();
    buffers.put(Vec::with_capacity(LARGE));
    assert_eq!(usage(&buffers), (1, LARGE));
}
