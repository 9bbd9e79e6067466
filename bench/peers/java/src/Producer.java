import com.sun.management.OperatingSystemMXBean;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.HdrHistogram.ConcurrentHistogram;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;

/**
 * RocketMQ's Java client as a load generator, for comparison.
 *
 * <pre>
 * Producer --nameserver a:1 --topic t --mode sync|async|batch
 *          [--size 128] [--threads 2] [--window 1000] [--batch 200]
 *          [--count n | --duration-s 10] [--warmup-s 5] [--timeout-ms 3000] [--numbered]
 *          [--commands]
 * </pre>
 *
 * sync: each thread sends and waits. async: each thread sends while fewer than --window messages
 * are in flight, over all threads. batch: the same with lists of --batch messages, and --window
 * counts lists (32 unless told). Closed loop: latency runs from the call of send to its result; for
 * a message in a list it is the list's. What is sent in the warm-up is not counted and not in
 * --count. One JSON object goes to standard output. With --numbered bodies begin with
 * seq=thread:n, counting from the warm-up on, for the reader's order check.
 *
 * --commands: for each line of standard input, "warm-up duration" in seconds, one such run and one
 * such JSON object, all in one process that gets warmer, until the input ends. jit_ms says how long
 * the compilers were at work meanwhile.
 */
public final class Producer {
    private static final long LATENCY_MAX_US = TimeUnit.MINUTES.toMicros(5);
    private static final int DRAIN_S = 30;

    private final Map<String, String> options = new HashMap<>();
    private final String mode;
    private final String topic;
    private final int threads;
    private final int batch;
    private final int size;
    private final boolean numbered;
    private final DefaultMQProducer producer;

    private final int windowSize;
    private final Semaphore window;
    private final ConcurrentHistogram latencyUs = new ConcurrentHistogram(LATENCY_MAX_US, 3);
    private final AtomicLong acked = new AtomicLong();
    private final AtomicLong failed = new AtomicLong();
    private final AtomicLong left = new AtomicLong(Long.MAX_VALUE);
    private volatile boolean measuring;
    private volatile boolean stopping;
    private volatile String firstError;
    private long[] gcBefore;
    private long jitBeforeMs;
    private long cpuBeforeNs;
    private long startedNs;

    private Producer(String[] args) throws Exception {
        for (int i = 0; i < args.length; i++) {
            if (!args[i].startsWith("--"))
                throw new IllegalArgumentException("not an option: " + args[i]);
            boolean isSwitch = i + 1 == args.length || args[i + 1].startsWith("--");
            options.put(args[i].substring(2), isSwitch ? "true" : args[++i]);
        }
        mode = options.getOrDefault("mode", "async");
        if (!List.of("sync", "async", "batch").contains(mode))
            throw new IllegalArgumentException("--mode is sync, async or batch");
        topic = options.get("topic");
        threads = number("threads", mode.equals("sync") ? 16 : 2);
        batch = mode.equals("batch") ? number("batch", 200) : 1;
        size = number("size", 128);
        numbered = options.containsKey("numbered");
        windowSize = number("window", mode.equals("batch") ? 32 : 1000);
        window = new Semaphore(windowSize);

        producer = new DefaultMQProducer("salvo_peer");
        producer.setNamesrvAddr(options.get("nameserver"));
        producer.setInstanceName("peer-" + ProcessHandle.current().pid());
        producer.setVipChannelEnabled(false);
        producer.setSendMsgTimeout(number("timeout-ms", 3000));
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.start();
    }

    private int number(String name, int otherwise) {
        return options.containsKey(name) ? Integer.parseInt(options.get(name)) : otherwise;
    }

    public static void main(String[] args) throws Exception {
        Producer it = new Producer(args);
        if (it.options.containsKey("commands")) {
            BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                String[] seconds = line.split(" ");
                System.out.println(
                    it.run(Integer.parseInt(seconds[0]), Integer.parseInt(seconds[1])));
            }
        } else {
            System.out.println(it.run(it.number("warmup-s", 5), it.number("duration-s", 10)));
        }
        System.exit(0);
    }

    private String run(int warmupS, int durationS) throws Exception {
        List<Thread> workers = new ArrayList<>();
        boolean counted = options.containsKey("count");
        stopping = false;
        measuring = false;
        if (warmupS == 0)
            begin();
        for (int i = 0; i < threads; i++) {
            int shard = i;
            Thread worker = new Thread(() -> work(shard), "peer-" + i);
            worker.start();
            workers.add(worker);
        }
        if (warmupS > 0) {
            Thread.sleep(warmupS * 1000L);
            begin();
        }
        if (!counted) {
            Thread.sleep(durationS * 1000L);
            stopping = true;
        }
        for (Thread worker : workers)
            worker.join();
        if (!window.tryAcquire(windowSize, DRAIN_S, TimeUnit.SECONDS))
            throw new IllegalStateException("results missing after " + DRAIN_S + " s");
        window.release(windowSize);
        return report((System.nanoTime() - startedNs) / 1e9, (cpuNs() - cpuBeforeNs) / 1e9);
    }

    /** From here on it counts. */
    private void begin() {
        if (options.containsKey("count"))
            left.set(number("count", 0));
        acked.set(0);
        failed.set(0);
        latencyUs.reset();
        gcBefore = gc();
        jitBeforeMs = jitMs();
        cpuBeforeNs = cpuNs();
        startedNs = System.nanoTime();
        measuring = true;
    }

    private void work(int shard) {
        byte[] fill = new byte[size];
        Arrays.fill(fill, (byte) 'x');
        long n = 0;
        while (!stopping) {
            if (left.get() <= 0 || left.addAndGet(-batch) <= -batch)
                return;
            try {
                window.acquire();
                if (mode.equals("batch")) {
                    List<Message> messages = new ArrayList<>(batch);
                    for (int i = 0; i < batch; i++)
                        messages.add(message(fill, shard, n++));
                    producer.send(messages, new Result());
                } else if (mode.equals("async")) {
                    producer.send(message(fill, shard, n++), new Result());
                } else {
                    Result result = new Result();
                    try {
                        result.onSuccess(producer.send(message(fill, shard, n++)));
                    } catch (Exception e) {
                        result.onException(e);
                    }
                }
            } catch (Exception e) {
                new Result().onException(e);
            }
        }
    }

    private Message message(byte[] fill, int shard, long n) {
        byte[] body = fill;
        if (numbered) {
            byte[] start = ("seq=" + shard + ":" + n + " ").getBytes(StandardCharsets.US_ASCII);
            body = Arrays.copyOf(fill, Math.max(size, start.length));
            System.arraycopy(start, 0, body, 0, start.length);
        }
        return new Message(topic, body);
    }

    /** Takes the result of one send; gives its place in the window back. */
    private final class Result implements SendCallback {
        private final long sent = System.nanoTime();
        private final boolean counts = measuring;

        @Override
        public void onSuccess(SendResult result) {
            if (counts) {
                long us = (System.nanoTime() - sent) / 1000;
                latencyUs.recordValueWithCount(Math.min(us, LATENCY_MAX_US), batch);
            }
            finish(result.getSendStatus() == SendStatus.SEND_OK, String.valueOf(result));
        }

        @Override
        public void onException(Throwable e) {
            finish(false, e.toString());
        }

        private void finish(boolean good, String what) {
            if (counts)
                (good ? acked : failed).addAndGet(batch);
            if (!good && firstError == null)
                firstError = what;
            window.release();
        }
    }

    /** Its version, and its options but for -D. */
    private static String jvm() {
        StringBuilder text = new StringBuilder(System.getProperty("java.vm.version"));
        for (String each : ManagementFactory.getRuntimeMXBean().getInputArguments()) {
            if (!each.startsWith("-D"))
                text.append(' ').append(each);
        }
        return text.toString();
    }

    private static long jitMs() {
        return ManagementFactory.getCompilationMXBean().getTotalCompilationTime();
    }

    private static long cpuNs() {
        return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
            .getProcessCpuTime();
    }

    private static long[] gc() {
        long count = 0;
        long ms = 0;
        for (GarbageCollectorMXBean each : ManagementFactory.getGarbageCollectorMXBeans()) {
            count += Math.max(0, each.getCollectionCount());
            ms += Math.max(0, each.getCollectionTime());
        }
        return new long[] {count, ms};
    }

    private String report(double seconds, double cpuSeconds) {
        long[] gcAfter = gc();
        List<String> collectors = new ArrayList<>();
        for (GarbageCollectorMXBean each : ManagementFactory.getGarbageCollectorMXBeans())
            collectors.add('"' + each.getName() + '"');
        return String.format(Locale.ROOT,
            "{\"client\":\"java-5.3.3\",\"jvm\":\"%s\",\"mode\":\"%s\",\"size\":%d,"
            + "\"threads\":%d,\"window\":%d,"
            + "\"batch\":%d,\"acked\":%d,\"failed\":%d,\"seconds\":%.3f,\"rate_per_s\":%.0f,"
            + "\"cpu_seconds\":%.3f,\"cpu_us_per_message\":%.3f,\"latency_us\":{\"p50\":%d,"
            + "\"p90\":%d,\"p99\":%d,\"max\":%d},\"gc\":{\"collectors\":[%s],\"count\":%d,"
            + "\"ms\":%d,\"heap_max_mb\":%d},\"jit_ms\":%d,\"first_error\":%s}",
            jvm(), mode, size, threads, mode.equals("sync") ? threads : windowSize, batch,
            acked.get(), failed.get(), seconds, acked.get() / seconds, cpuSeconds,
            acked.get() == 0 ? 0 : cpuSeconds * 1e6 / acked.get(),
            latencyUs.getValueAtPercentile(50), latencyUs.getValueAtPercentile(90),
            latencyUs.getValueAtPercentile(99), latencyUs.getMaxValue(),
            String.join(",", collectors), gcAfter[0] - gcBefore[0], gcAfter[1] - gcBefore[1],
            Runtime.getRuntime().maxMemory() >> 20, jitMs() - jitBeforeMs,
            firstError == null ? "null"
                : '"' + firstError.replaceAll("[^ -~]|[\"\\\\]", " ") + '"');
    }
}
