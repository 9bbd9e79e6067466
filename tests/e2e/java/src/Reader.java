import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Base64;
import java.util.BitSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.zip.CRC32;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Reads back everything the brokers hold of some topics, as Java's own consumer sees it.
 *
 * <pre>
 * Reader --nameserver a:1;b:2 --topics t1,t2 [--expect n] [--wait-s 30] [--threads 4]
 *        [--out file] [--digest | --summary [--places file]]
 * </pre>
 *
 * Every queue is pulled from its smallest to its largest offset. One JSON object a line goes to
 * --out or standard output, queues in order; with --summary a single object with counts, and in the
 * file of --places a line for each message: id, broker, queue and offset between tabs. With
 * --expect it first waits until the brokers list that many messages, because a message is listed
 * a moment after it was acknowledged. Ends with 0 when everything listed was read, otherwise with
 * 1: fewer listed than expected, or a hole in the offsets.
 *
 * "Reader serve" reads such command lines from standard input, words separated by tabs, and answers
 * each with its status on a line of its own: starting a JVM takes longer than most reads.
 */
public final class Reader {
    private static final int PULL_MESSAGES_MAX = 2000;
    private static final int PULL_TIMEOUT_MS = 10_000;
    private static final int ATTEMPTS_MAX = 20;

    private static int consumers;

    private final Options options;
    private final DefaultMQPullConsumer consumer;
    private final Summary summary = new Summary();

    private record Range(MessageQueue queue, long from, long to) {
    }

    private Reader(Options options, DefaultMQPullConsumer consumer) {
        this.options = options;
        this.consumer = consumer;
    }

    private static DefaultMQPullConsumer consumer(Options options) throws MQClientException {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("salvo_reader");
        consumer.setNamesrvAddr(options.text("nameserver"));
        consumer.setInstanceName("reader-" + ProcessHandle.current().pid() + "-" + ++consumers);
        consumer.setVipChannelEnabled(false);
        consumer.setConsumerPullTimeoutMillis(PULL_TIMEOUT_MS);
        consumer.start();
        return consumer;
    }

    public static void main(String[] args) throws Exception {
        if (args.length == 1 && args[0].equals("serve"))
            serve();
        Options options = new Options(args, 0);
        // Shutting the client down takes seconds and saves nothing.
        System.exit(run(options, consumer(options)));
    }

    /** One consumer for each list of nameservers, one read after the other. */
    private static void serve() throws Exception {
        Map<String, DefaultMQPullConsumer> known = new HashMap<>();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in,
                                                                        StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Options options = new Options(line.split("\t"), 0);
            int status = 1;
            try {
                String nameserver = options.text("nameserver");
                if (!known.containsKey(nameserver))
                    known.put(nameserver, consumer(options));
                status = run(options, known.get(nameserver));
            } catch (Exception e) {
                e.printStackTrace();
            }
            System.err.flush();
            System.out.println("status " + status);
            System.out.flush();
        }
        System.exit(0);
    }

    private static int run(Options options, DefaultMQPullConsumer consumer) throws Exception {
        Reader reader = new Reader(options, consumer);
        int status;
        try (BufferedWriter out = writer(options.has("out")
                                         ? new FileOutputStream(options.text("out"))
                                         : new FileOutputStream(FileDescriptor.out));
             BufferedWriter places = writer(new FileOutputStream(
                 options.text("places", "/dev/null")))) {
            status = reader.read(out, places);
        }
        return status;
    }

    private static BufferedWriter writer(OutputStream to) {
        return new BufferedWriter(new OutputStreamWriter(to, StandardCharsets.US_ASCII), 1 << 20);
    }

    private int read(BufferedWriter out, BufferedWriter places) throws Exception {
        long started = System.nanoTime();
        int expected = options.number("expect", -1);
        List<Range> ranges = listed(expected);
        long listedCount = 0;
        for (Range range : ranges)
            listedCount += range.to - range.from;

        ExecutorService threads = Executors.newFixedThreadPool(options.number("threads", 4));
        List<Future<?>> reads = new ArrayList<>();
        for (Range range : ranges)
            reads.add(threads.submit(() -> {
                readQueue(range, options.has("summary") ? places : out);
                return null;
            }));
        for (Future<?> each : reads)
            each.get();
        threads.shutdown();

        if (options.has("summary")) {
            Map<String, Object> all = summary.toMap();
            all.put("queues", ranges.size());
            all.put("listed", listedCount);
            all.put("seconds", (System.nanoTime() - started) / 1e9);
            out.write(Json.of(all));
            out.newLine();
        }
        if (summary.messages != listedCount) {
            System.err.println("read " + summary.messages + " of " + listedCount + " listed");
            return 1;
        }
        if (listedCount < expected) {
            System.err.println("listed " + listedCount + " messages, expected " + expected);
            return 1;
        }
        return 0;
    }

    /** All queues with their offsets, once they add up to what is expected or time is up. */
    private List<Range> listed(int expected) throws Exception {
        long deadline = System.nanoTime() + options.number("wait-s", 30) * 1_000_000_000L;
        for (;;) {
            List<Range> ranges = new ArrayList<>();
            long count = 0;
            Exception failed = null;
            try {
                for (String topic : options.text("topics").split(","))
                    for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(topic)) {
                        Range range = new Range(queue, consumer.minOffset(queue),
                                                consumer.maxOffset(queue));
                        ranges.add(range);
                        count += range.to - range.from;
                    }
            } catch (MQClientException e) {
                failed = e;
            }
            boolean timeUp = System.nanoTime() >= deadline;
            if (failed != null && timeUp)
                throw failed;
            if (failed == null && (count >= expected || timeUp)) {
                ranges.sort((a, b) -> a.queue.compareTo(b.queue));
                return ranges;
            }
            Thread.sleep(50);
        }
    }

    private void readQueue(Range range, BufferedWriter out) throws Exception {
        long offset = range.from;
        int attempts = 0;
        while (offset < range.to) {
            PullResult result;
            try {
                result = consumer.pull(range.queue, "*", offset, PULL_MESSAGES_MAX,
                                       PULL_TIMEOUT_MS);
            } catch (Exception e) {
                if (++attempts >= ATTEMPTS_MAX)
                    throw e;
                Thread.sleep(100L * attempts);
                continue;
            }
            if (result.getPullStatus() == PullStatus.FOUND) {
                attempts = 0;
                List<MessageExt> found = new ArrayList<>(result.getMsgFoundList());
                long end = range.to;
                found.removeIf(message -> message.getQueueOffset() >= end);
                take(range.queue, found, out);
                offset = result.getNextBeginOffset();
            } else if (++attempts >= ATTEMPTS_MAX) {
                throw new IllegalStateException(range.queue + " at " + offset + ": " + result);
            } else {
                Thread.sleep(100L * attempts);
            }
        }
    }

    private void take(MessageQueue queue, List<MessageExt> messages, BufferedWriter out)
            throws Exception {
        if (options.has("summary")) {
            synchronized (summary) {
                for (MessageExt message : messages) {
                    summary.add(queue, message);
                    out.append(message.getProperty("UNIQ_KEY")).append('\t')
                       .append(queue.getBrokerName()).append('\t')
                       .append(String.valueOf(message.getQueueId())).append('\t')
                       .append(String.valueOf(message.getQueueOffset())).append('\n');
                }
            }
            return;
        }
        StringBuilder lines = new StringBuilder(messages.size() * 600);
        for (MessageExt message : messages)
            lines.append(Json.of(describe(queue, message, options.has("digest")))).append('\n');
        synchronized (summary) {
            summary.messages += messages.size();
            out.append(lines);
        }
    }

    private static Map<String, Object> describe(MessageQueue queue, MessageExt message,
                                                boolean digest) throws Exception {
        Map<String, String> properties = new HashMap<>(message.getProperties());
        properties.remove("MIN_OFFSET");    // the consumer puts these in; no broker stored them
        properties.remove("MAX_OFFSET");

        Map<String, Object> line = new LinkedHashMap<>();
        line.put("topic", message.getTopic());
        line.put("broker", queue.getBrokerName());
        line.put("queueId", message.getQueueId());
        line.put("queueOffset", message.getQueueOffset());
        line.put("msgId", properties.get("UNIQ_KEY"));
        line.put("offsetMsgId", message instanceof MessageClientExt client
                                ? client.getOffsetMsgId() : message.getMsgId());
        line.put("tags", message.getTags());
        line.put("keys", message.getKeys());
        line.put("properties", Json.sorted(properties));
        line.put("flag", message.getFlag());
        line.put("sysFlag", message.getSysFlag());
        line.put("bornTimestamp", message.getBornTimestamp());
        line.put("storeTimestamp", message.getStoreTimestamp());
        line.put("storeSize", message.getStoreSize());
        line.put("reconsumeTimes", message.getReconsumeTimes());
        byte[] body = message.getBody() == null ? new byte[0] : message.getBody();
        line.put("size", body.length);
        if (digest) {
            CRC32 crc = new CRC32();
            crc.update(body);
            line.put("crc32", crc.getValue());
            line.put("sha256", HexFormat.of().formatHex(
                MessageDigest.getInstance("SHA-256").digest(body)));
        } else {
            line.put("body", Base64.getEncoder().encodeToString(body));
        }
        return line;
    }

    /** Counts for big runs. Guarded by itself. */
    private static final class Summary {
        long messages;
        private long bytes;
        private long withoutId;
        private long sequenced;
        private long outOfOrder;
        private long sequenceRepeated;
        private String firstOutOfOrder;
        private final Set<String> ids = new HashSet<>();
        private final Map<String, BitSet> shards = new HashMap<>();
        private final Map<String, Long> lastOfShardInQueue = new HashMap<>();
        private final Map<String, Long> perQueue = new HashMap<>();

        void add(MessageQueue queue, MessageExt message) {
            messages++;
            bytes += message.getBody() == null ? 0 : message.getBody().length;
            String id = message.getProperty("UNIQ_KEY");
            if (id == null)
                withoutId++;
            else
                ids.add(id);
            String name = queue.getTopic() + "/" + queue.getBrokerName() + "/" + queue.getQueueId();
            perQueue.merge(name, 1L, Long::sum);
            if (message.getBody() != null)
                addSequence(name, message);
        }

        /** A body that begins with seq=shard:n: n must grow within each shard and queue. */
        private void addSequence(String queue, MessageExt message) {
            byte[] body = message.getBody();
            String start = new String(body, 0, Math.min(body.length, 64),
                                      StandardCharsets.ISO_8859_1);
            int colon = start.indexOf(':');
            if (!start.startsWith("seq=") || colon < 0)
                return;
            int end = colon + 1;
            while (end < start.length() && Character.isDigit(start.charAt(end)))
                end++;
            if (end == colon + 1)
                return;
            String shard = start.substring(4, colon);
            long n = Long.parseLong(start.substring(colon + 1, end));
            sequenced++;
            Long last = lastOfShardInQueue.put(queue + "/" + shard, n);
            if (last != null && n <= last) {
                outOfOrder++;
                if (firstOutOfOrder == null)
                    firstOutOfOrder = queue + " offset " + message.getQueueOffset() + ": shard "
                                      + shard + " has " + n + " after " + last;
            }
            BitSet seen = shards.computeIfAbsent(shard, key -> new BitSet());
            if (seen.get(Math.toIntExact(n)))
                sequenceRepeated++;
            seen.set(Math.toIntExact(n));
        }

        Map<String, Object> toMap() {
            long missing = 0;
            for (BitSet seen : shards.values())
                missing += seen.length() - seen.cardinality();
            Map<String, Object> all = new LinkedHashMap<>();
            all.put("messages", messages);
            all.put("distinct", ids.size());
            all.put("duplicates", messages - withoutId - ids.size());
            all.put("without_id", withoutId);
            all.put("bytes", bytes);
            all.put("sequenced", sequenced);
            all.put("shards", shards.size());
            all.put("sequence_missing", missing);
            all.put("sequence_repeated", sequenceRepeated);
            all.put("out_of_order", outOfOrder);
            all.put("first_out_of_order", firstOutOfOrder);
            all.put("per_queue", Json.sorted(perQueue));
            return all;
        }
    }
}
