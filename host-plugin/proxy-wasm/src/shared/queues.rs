//! Shared queues (`proxy_register_shared_queue` and the like): messages from any virtual machine to one of those that
//! have registered the queue. A message is announced once (`proxy_on_queue_ready`), to the virtual machine that
//! registered last and has a thread; if that dies before it has heard of it, to another one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::OVERHEAD;
use super::postbox::{Postbox, Wake};
use crate::embedder::Status;
use crate::vm::mailbox::Letter;

/// So many queues there are at most: each is kept as long as the process.
const MOST: usize = 1024;
/// Bytes of a name.
const LONGEST_NAME: usize = 4 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct SharedQueues(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    numbers: HashMap<(String, Box<[u8]>), u32>,
    /// By number, which begin with 1.
    queues: Vec<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Box<[u8]>>,
    bytes: u64,
    /// In the order in which they have registered.
    registered: Vec<Weak<Postbox>>,
    /// Messages that nobody could be told of.
    unannounced: usize,
    /// Letters about it on their way. No more than messages: one who takes them as fast as they come would else leave
    /// letters without end.
    announced: usize,
}

impl Tables {
    fn queue(&mut self, number: u32) -> Result<&mut Queue, Status> {
        let index = (number as usize).checked_sub(1);
        index.and_then(|index| self.queues.get_mut(index)).ok_or(Status::NotFound)
    }
}

impl Queue {
    fn listeners(&self) -> impl Iterator<Item = Arc<Postbox>> {
        self.registered.iter().rev().filter_map(Weak::upgrade)
    }
}

impl SharedQueues {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a queue, which is made if there is none: `postbox` hears of its messages.
    ///
    /// # Errors
    /// BAD_ARGUMENT when there are too many, or its name is too long.
    pub(crate) fn register(&self, vm_id: &str, name: &[u8], postbox: &Arc<Postbox>) -> Result<u32, Status> {
        let number = {
            let mut tables = self.lock();
            let key = (vm_id.to_owned(), name.into());
            let number = match tables.numbers.get(&key) {
                Some(number) => *number,
                None if tables.queues.len() >= MOST || name.len() > LONGEST_NAME => {
                    return Err(Status::BadArgument);
                }
                None => {
                    tables.queues.push(Queue::default());
                    let number = tables.queues.len() as u32;
                    tables.numbers.insert(key, number);
                    number
                }
            };
            let queue = tables.queue(number)?;
            queue.registered.retain(|other| other.strong_count() > 0 && !is(other, postbox));
            queue.registered.push(Arc::downgrade(postbox));
            number
        };
        self.announce_again(number);
        Ok(number)
    }

    /// The number of a queue.
    ///
    /// # Errors
    /// NOT_FOUND.
    pub(crate) fn resolve(&self, vm_id: &str, name: &[u8]) -> Result<u32, Status> {
        self.lock().numbers.get(&(vm_id.to_owned(), name.into())).copied().ok_or(Status::NotFound)
    }

    /// Adds a message.
    ///
    /// # Errors
    /// NOT_FOUND; BAD_ARGUMENT when more than `limit` bytes would wait in the queue.
    pub(crate) fn enqueue(&self, number: u32, message: Box<[u8]>, limit: u64) -> Result<(), Status> {
        {
            let mut tables = self.lock();
            let queue = tables.queue(number)?;
            let bytes = queue.bytes.saturating_add(message.len() as u64 + OVERHEAD);
            if bytes > limit {
                return Err(Status::BadArgument);
            }
            queue.bytes = bytes;
            queue.messages.push_back(message);
        }
        self.announce(number);
        Ok(())
    }

    /// The first message.
    ///
    /// # Errors
    /// NOT_FOUND, EMPTY.
    pub(crate) fn dequeue(&self, number: u32) -> Result<Box<[u8]>, Status> {
        let mut tables = self.lock();
        let queue = tables.queue(number)?;
        let message = queue.messages.pop_front().ok_or(Status::Empty)?;
        queue.bytes -= message.len() as u64 + OVERHEAD;
        Ok(message)
    }

    /// Tells one virtual machine of one message. Nothing is locked meanwhile.
    fn announce(&self, number: u32) {
        let listeners: Vec<_> = match self.lock().queue(number) {
            Ok(queue) if queue.announced + queue.unannounced < queue.messages.len() => {
                queue.announced += 1;
                queue.listeners().collect()
            }
            _ => return,
        };
        let told = listeners
            .iter()
            .any(|postbox| postbox.is_open() && postbox.post(Letter::QueueReady { queue: number }).is_ok());
        if !told && let Ok(queue) = self.lock().queue(number) {
            queue.announced = queue.announced.saturating_sub(1);
            queue.unannounced += 1;
        }
    }

    /// Somebody may be told of the messages now that nobody was.
    fn announce_again(&self, number: u32) {
        let count = self.lock().queue(number).map_or(0, |queue| std::mem::take(&mut queue.unannounced));
        (0..count).for_each(|_| self.announce(number));
    }

    /// A thread owns the virtual machine of `postbox` from now on. `single`: it gets one letter after the other.
    pub(crate) fn owned(&self, postbox: &Arc<Postbox>, wake: Wake, single: bool) {
        postbox.owned(wake, single);
        let numbers = self.registered_by(postbox);
        numbers.into_iter().for_each(|number| self.announce_again(number));
    }

    /// A guest is about to have a letter: it is on its way no more.
    pub(crate) fn begun(&self, number: u32) {
        if let Ok(queue) = self.lock().queue(number) {
            queue.announced = queue.announced.saturating_sub(1);
        }
    }

    /// The guest of `postbox` has had a letter.
    pub(crate) fn delivered(&self, postbox: &Postbox, number: u32) {
        postbox.delivered();
        // Nobody else may have been there for those that came meanwhile.
        if self.lock().queue(number).is_ok_and(|queue| queue.unannounced > 0) {
            self.announce_again(number);
        }
    }

    /// The virtual machine of `postbox` is gone; `waiting`: what was in its mailbox. Others hear of the messages that
    /// it has not heard of.
    pub(crate) fn gone(&self, postbox: &Arc<Postbox>, waiting: impl Iterator<Item = Letter>) {
        let letters = postbox.close();
        {
            let mut tables = self.lock();
            for queue in &mut tables.queues {
                queue.registered.retain(|other| other.strong_count() > 0 && !is(other, postbox));
            }
        }
        for letter in waiting.chain(letters) {
            if let Letter::QueueReady { queue } = letter {
                self.begun(queue);
                self.announce(queue);
            }
        }
    }

    fn registered_by(&self, postbox: &Arc<Postbox>) -> Vec<u32> {
        let tables = self.lock();
        let listening = |queue: &Queue| queue.registered.iter().any(|registered| is(registered, postbox));
        (1..).zip(&tables.queues).filter(|(_, queue)| listening(queue)).map(|(number, _)| number).collect()
    }
}

fn is(registered: &Weak<Postbox>, postbox: &Arc<Postbox>) -> bool {
    std::ptr::eq(registered.as_ptr(), Arc::as_ptr(postbox))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const LIMIT: u64 = 1000;

    /// A virtual machine that has a thread; the number says how often that was woken.
    fn owned(queues: &SharedQueues, single: bool) -> (Arc<Postbox>, Arc<AtomicUsize>) {
        let (postbox, woken) = (Arc::new(Postbox::default()), Arc::new(AtomicUsize::new(0)));
        own(queues, &postbox, &woken, single);
        (postbox, woken)
    }

    fn own(queues: &SharedQueues, postbox: &Arc<Postbox>, woken: &Arc<AtomicUsize>, single: bool) {
        let woken = Arc::clone(woken);
        queues.owned(postbox, Arc::new(move || _ = woken.fetch_add(1, Ordering::SeqCst)), single);
    }

    fn collected(postbox: &Postbox) -> Vec<Letter> {
        let mut letters = Vec::new();
        postbox.collect(|letter| {
            letters.push(letter);
            Ok(())
        });
        letters
    }

    fn ready(queue: u32, count: usize) -> Vec<Letter> {
        vec![Letter::QueueReady { queue }; count]
    }

    fn send(queues: &SharedQueues, queue: u32) {
        queues.enqueue(queue, b"message".as_slice().into(), LIMIT).unwrap();
    }

    #[test]
    fn messages_come_in_order_and_names_belong_to_a_vm_id() {
        let queues = SharedQueues::default();
        let (postbox, _) = owned(&queues, false);
        let one = queues.register("vm", b"queue", &postbox).unwrap();
        let other = queues.register("other", b"queue", &postbox).unwrap();
        assert_ne!(one, other);
        assert_eq!(queues.register("vm", b"queue", &postbox), Ok(one));
        assert_eq!(queues.resolve("vm", b"queue"), Ok(one));
        assert_eq!(queues.resolve("vm", b"none"), Err(Status::NotFound));
        for message in ["one", "", "three"] {
            queues.enqueue(one, message.as_bytes().into(), LIMIT).unwrap();
        }
        let text = |message: Result<Box<[u8]>, Status>| {
            message.map(|bytes| String::from_utf8(bytes.into()).unwrap())
        };
        assert_eq!(text(queues.dequeue(one)), Ok("one".into()));
        assert_eq!(text(queues.dequeue(one)), Ok(String::new()));
        assert_eq!(text(queues.dequeue(one)), Ok("three".into()));
        assert_eq!(text(queues.dequeue(one)), Err(Status::Empty));
        for unknown in [0, 3, u32::MAX] {
            assert_eq!(text(queues.dequeue(unknown)), Err(Status::NotFound));
            assert_eq!(queues.enqueue(unknown, Box::default(), LIMIT), Err(Status::NotFound));
        }
    }

    #[test]
    fn each_message_is_announced_once_to_the_one_that_registered_last() {
        let queues = SharedQueues::default();
        let ((one, one_woken), (two, two_woken)) = (owned(&queues, false), owned(&queues, false));
        let queue = queues.register("", b"queue", &one).unwrap();
        queues.register("", b"queue", &two).unwrap();
        (0..3).for_each(|_| send(&queues, queue));
        assert_eq!((collected(&one), collected(&two)), (ready(queue, 0), ready(queue, 3)));
        assert_eq!(two_woken.load(Ordering::SeqCst), 1, "until it has looked");
        send(&queues, queue);
        assert_eq!((one_woken.load(Ordering::SeqCst), two_woken.load(Ordering::SeqCst)), (0, 2));
    }

    #[test]
    fn a_message_waits_for_somebody_who_can_be_told() {
        let queues = SharedQueues::default();
        let (postbox, woken) = (Arc::new(Postbox::default()), Arc::default());
        let queue = queues.register("", b"queue", &postbox).unwrap();
        (0..2).for_each(|_| send(&queues, queue));
        assert_eq!(collected(&postbox), []);
        own(&queues, &postbox, &woken, false);
        assert_eq!(collected(&postbox), ready(queue, 2));
    }

    #[test]
    fn what_one_has_not_heard_of_another_one_hears() {
        let queues = SharedQueues::default();
        let ((one, _), (two, _)) = (owned(&queues, false), owned(&queues, false));
        let queue = queues.register("", b"queue", &one).unwrap();
        queues.register("", b"queue", &two).unwrap();
        (0..3).for_each(|_| send(&queues, queue));
        // One is in its mailbox, two in its postbox.
        let mut mailbox = Vec::new();
        two.collect(|letter| {
            if mailbox.is_empty() {
                mailbox.push(letter);
                Ok(())
            } else {
                Err(letter)
            }
        });
        queues.gone(&two, mailbox.into_iter());
        assert_eq!(collected(&one), ready(queue, 3));
        queues.gone(&one, std::iter::empty());
        send(&queues, queue);
        let (three, _) = owned(&queues, false);
        queues.register("", b"queue", &three).unwrap();
        assert_eq!(collected(&three), ready(queue, 1), "those before were heard of");
    }

    #[test]
    fn one_that_can_be_stopped_gets_one_after_the_other() {
        let queues = SharedQueues::default();
        let ((fast, _), (slot, _)) = (owned(&queues, false), owned(&queues, true));
        let queue = queues.register("", b"queue", &fast).unwrap();
        queues.register("", b"queue", &slot).unwrap();
        (0..3).for_each(|_| send(&queues, queue));
        assert_eq!((collected(&slot), collected(&fast)), (ready(queue, 1), ready(queue, 2)));
        queues.delivered(&slot, queue);
        send(&queues, queue);
        assert_eq!(collected(&slot), ready(queue, 1));
        // Nobody else is there any more.
        queues.gone(&fast, std::iter::empty());
        send(&queues, queue);
        assert_eq!(collected(&slot), []);
        queues.delivered(&slot, queue);
        assert_eq!(collected(&slot), ready(queue, 1));
    }

    #[test]
    fn one_who_takes_messages_as_fast_as_they_come_leaves_no_letters() {
        let queues = SharedQueues::default();
        let (postbox, _) = owned(&queues, false);
        let queue = queues.register("", b"queue", &postbox).unwrap();
        for _ in 0..100 {
            send(&queues, queue);
            queues.dequeue(queue).unwrap();
        }
        assert_eq!(collected(&postbox), ready(queue, 1));
        // It is at work: the next message is not the one that it has been told of.
        queues.begun(queue);
        send(&queues, queue);
        assert_eq!(collected(&postbox), ready(queue, 1));
        assert_eq!(queues.lock().queues[0].announced, 1);
    }

    #[test]
    fn queues_and_their_messages_have_limits() {
        let queues = SharedQueues::default();
        let (postbox, _) = owned(&queues, false);
        let long = vec![b'x'; LONGEST_NAME + 1];
        assert_eq!(queues.register("", &long, &postbox), Err(Status::BadArgument));
        let queue = queues.register("", b"0", &postbox).unwrap();
        let made = (1..2 * MOST)
            .take_while(|name| queues.register("", name.to_string().as_bytes(), &postbox).is_ok())
            .count();
        assert_eq!(made, MOST - 1);
        let sent = || (0..100).take_while(|_| queues.enqueue(queue, Box::default(), LIMIT).is_ok()).count();
        assert_eq!(sent(), 15);
        queues.dequeue(queue).unwrap();
        assert_eq!(sent(), 1);
    }
}
