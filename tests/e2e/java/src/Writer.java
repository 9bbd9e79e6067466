import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;

/**
 * Sends messages of every shape with Java's own producer, to prove the harness without salvo.
 *
 * <pre>
 * Writer --nameserver a:1 --topic t --out file [--count 50] [--from 0] [--timeout-ms 3000]
 * </pre>
 *
 * Message n has the body "seq=0:n " and n % 7 * 1000 more bytes, so some are compressed. Each line
 * of the file is a JSON object: what was sent and what came back, or "error" when the send failed.
 * The client's heartbeat is sent at the end: its own first one may be due later than that.
 */
public final class Writer {
    private Writer() {
    }

    public static void main(String[] args) throws Exception {
        Options options = new Options(args, 0);
        DefaultMQProducer producer = new DefaultMQProducer("salvo_writer");
        producer.setNamesrvAddr(options.text("nameserver"));
        producer.setInstanceName("writer-" + ProcessHandle.current().pid());
        producer.setVipChannelEnabled(false);
        producer.setSendMsgTimeout(options.number("timeout-ms", 3000));
        producer.start();
        PrintWriter out = new PrintWriter(options.text("out"), StandardCharsets.US_ASCII);
        int from = options.number("from", 0);
        for (int n = from; n < from + options.number("count", 50); n++) {
            Message message = message(options.text("topic"), n);
            Map<String, Object> line = new LinkedHashMap<>();
            line.put("n", n);
            line.put("size", message.getBody().length);
            line.put("flag", message.getFlag());
            try {
                SendResult result = producer.send(message);
                line.put("status", result.getSendStatus());
                line.put("msgId", result.getMsgId());
                line.put("offsetMsgId", result.getOffsetMsgId());
                line.put("broker", result.getMessageQueue().getBrokerName());
                line.put("queueId", result.getMessageQueue().getQueueId());
                line.put("queueOffset", result.getQueueOffset());
            } catch (Exception e) {
                line.put("error", e.toString());
            }
            line.put("properties", Json.sorted(message.getProperties()));
            out.println(Json.of(line));
        }
        out.close();
        producer.getDefaultMQProducerImpl().getmQClientFactory()
            .sendHeartbeatToAllBrokerWithLock();
        System.exit(0);
    }

    private static Message message(String topic, int n) {
        byte[] start = ("seq=0:" + n + " ").getBytes(StandardCharsets.US_ASCII);
        byte[] body = new byte[start.length + n % 7 * 1000];
        new Random(n).nextBytes(body);
        if (n % 2 == 0)
            Arrays.fill(body, (byte) 'x');
        System.arraycopy(start, 0, body, 0, start.length);
        Message message = new Message(topic, n % 3 == 0 ? "" : "Tag" + n % 3,
                                      n % 5 == 0 ? "" : "key-" + n + " shared", body);
        message.setFlag(n % 4 - 1);
        if (n % 2 == 0)
            message.putUserProperty("price", "12 € \uD83D\uDE80 \"quoted\" \\ \t end");
        return message;
    }
}
