import com.alibaba.fastjson.serializer.SerializerFeature;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.zip.Deflater;
import org.apache.rocketmq.acl.common.AclClientRPCHook;
import org.apache.rocketmq.acl.common.SessionCredentials;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.CommandCustomHeader;
import org.apache.rocketmq.remoting.protocol.LanguageCode;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;

/** The golden cases. Values are those of the protocol reference's own examples where it has one. */
final class Cases {
    private static final int SEND_MESSAGE = 10;
    private static final int HEART_BEAT = 34;
    private static final int UNREGISTER_CLIENT = 35;
    private static final int END_TRANSACTION = 37;
    private static final int CHECK_TRANSACTION_STATE = 39;
    private static final int NOTIFY_CONSUMER_IDS_CHANGED = 40;
    private static final int GET_ROUTEINFO_BY_TOPIC = 105;
    private static final int SEND_MESSAGE_V2 = 310;
    private static final int SEND_BATCH_MESSAGE = 320;
    private static final int PUSH_REPLY_MESSAGE_TO_CLIENT = 326;

    private static final String CLIENT_ID = "10.1.2.3@4242";
    private static final String UNIQ_KEY = "0A01020310921234ABCD000000010000";
    private static final String OFFSET_MSG_ID = "0A01020400002A9F0000000000000123";
    private static final String PROPERTIES = properties("TAGS", "TagA", "WAIT", "true",
                                                        "UNIQ_KEY", UNIQ_KEY);
    private static final String ESCAPES = properties(
        "TAGS", "TagA", "UNIQ_KEY", UNIQ_KEY, "quote", "say \"hi\"", "back", "C:\\dir\\",
        "white", "tab\there", "lines", "a\nb\r\n", "low", "\u0003\u001f\b\f", "slash", "a/b",
        "del", "\u007f", "rocket", "\uD83D\uDE80\uD83D\uDE00", "equals", "a=b=c");
    private static final String UTF8 = properties(
        "KEYS", "schl\u00fcssel \u043a\u043b\u044e\u0447", "TAGS", "\u6807\u7b7e",
        "UNIQ_KEY", UNIQ_KEY, "\u5730\u533a", "\u676d\u5dde", "price", "12 \u20ac",
        "line", "a\u2028b\u2029c\u0085d");

    private static final List<String> NO_NOTES = List.of();

    private final Golden golden;
    private final int version;

    Cases(Golden golden) {
        this.golden = golden;
        this.version = golden.isVersion4() ? 407 : 479;
    }

    void all() throws Exception {
        sends();
        batches();
        lifecycle();
        transactions();
        pushed();
        responses();
        routes();
    }

    private static String properties(String... keysAndValues) {
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < keysAndValues.length; i += 2)
            out.append(keysAndValues[i]).append('\u0001').append(keysAndValues[i + 1])
                .append('\u0002');
        return out.toString();
    }

    // a send request, with the fields of one changed at a time

    private final class Send {
        int code = SEND_MESSAGE_V2;
        int version = Cases.this.version;
        int opaque = 9;
        LanguageCode language = LanguageCode.JAVA;
        boolean oneWay;
        boolean acl;
        byte[] body = Golden.utf8("Hello");
        String bodyNote;
        List<String> notes = NO_NOTES;
        final Map<String, Object> fields = new LinkedHashMap<>();

        Send() {
            fields.put("producerGroup", "PG_A");
            fields.put("topic", "TopicTest");
            fields.put("defaultTopic", "TBW102");
            fields.put("defaultTopicQueueNums", 4);
            fields.put("queueId", 2);
            fields.put("sysFlag", 0);
            fields.put("bornTimestamp", 1700000000000L);
            fields.put("flag", 0);
            fields.put("properties", PROPERTIES);
            fields.put("reconsumeTimes", 0);
            fields.put("unitMode", false);
            fields.put("batch", false);
            fields.put("bname", "broker-a");
        }

        Send with(String field, Object value) {
            fields.put(field, value);
            return this;
        }

        Send without(String field) {
            fields.remove(field);
            return this;
        }

        Send body(byte[] bytes) {
            body = bytes;
            return this;
        }

        Send pattern(int size) {
            body = Golden.pattern(size);
            bodyNote = "pattern:" + size;
            return this;
        }

        RemotingCommand command() throws Exception {
            CommandCustomHeader header = golden.header("SendMessageRequestHeader");
            for (Map.Entry<String, Object> field : fields.entrySet())
                Golden.set(header, field.getKey(), field.getValue());
            // What the client does with "smart" messages on, which is its default.
            if (code != SEND_MESSAGE)
                header = (CommandCustomHeader) golden.call("header.SendMessageRequestHeaderV2",
                    "createSendMessageRequestHeaderV2", header);
            RemotingCommand command = request(code, header, version, opaque);
            command.setLanguage(language);
            command.setBody(body);
            if (oneWay)
                command.markOnewayRPC();
            if (acl)
                new AclClientRPCHook(new SessionCredentials("RocketMQ", "12345678"))
                    .doBeforeRequest("127.0.0.1:10911", command);
            return command;
        }

        void write(String name) throws Exception {
            golden.write(name, bodyNote, notes, this::command);
        }
    }

    private static RemotingCommand request(int code, CommandCustomHeader header, int version,
                                           int opaque) {
        RemotingCommand command = RemotingCommand.createRequestCommand(code, header);
        command.setVersion(version);
        command.setOpaque(opaque);
        return command;
    }

    private void sends() throws Exception {
        new Send().write("send-v2");
        new Send().without("bname").write("send-v2-no-broker-name");
        new Send().with("flag", 7).write("send-v2-flag-7");
        new Send().with("flag", -1).write("send-v2-flag-minus-1");
        new Send().with("sysFlag", 1).body(zlib(40)).write("send-v2-zlib-4x");
        new Send().with("sysFlag", 0x301).body(zlib(40)).write("send-v2-zlib");
        new Send().with("sysFlag", 0x101).body(Golden.HEX.parseHex(
            "04224d186070730b0000001f6101000f50616161616100000000")).write("send-v2-lz4");
        new Send().with("sysFlag", 0x201).body(Golden.HEX.parseHex(
            "28b52ffd005844000010616101001f8005010000")).write("send-v2-zstd");
        new Send().with("properties", properties("KEYS", "order-17 order-18", "TAGS", "TagA",
            "WAIT", "true", "UNIQ_KEY", UNIQ_KEY, "color", "red", "empty", ""))
            .write("send-v2-keys");
        new Send().with("properties", UTF8).write("send-v2-utf8");
        new Send().with("properties", ESCAPES).write("send-v2-escapes");
        new Send().with("properties", "").write("send-v2-properties-empty");
        new Send().without("properties").write("send-v2-properties-absent");
        new Send().pattern(5000).write("send-v2-body-5000");
        new Send().pattern(256).write("send-v2-body-256");
        new Send().pattern(1).write("send-v2-body-1");
        new Send().with("queueId", 0).with("topic", "%RETRY%CG").with("reconsumeTimes", 3)
            .with("maxReconsumeTimes", 16).write("send-v2-retry");
        new Send().with("topic", "MQ_INST_1%TopicTest").with("producerGroup", "MQ_INST_1%PG_A")
            .with("unitMode", true).write("send-v2-namespace");
        new Send().with("queueId", 2147483647).with("bornTimestamp", 4102444800000L)
            .with("defaultTopicQueueNums", 16).write("send-v2-large-numbers");
        new Send().with("sysFlag", 4).with("properties", properties("TRAN_MSG", "true", "PGROUP",
            "PG_A", "UNIQ_KEY", UNIQ_KEY, "WAIT", "true")).write("send-v2-half");
        new Send().with("properties", properties("DELAY", "3", "UNIQ_KEY", UNIQ_KEY))
            .write("send-v2-delay");

        Send oneWay = new Send();
        oneWay.oneWay = true;
        oneWay.write("send-v2-oneway");
        Send cpp = new Send();
        cpp.language = LanguageCode.CPP;
        cpp.version = 401;
        cpp.write("send-v2-cpp-401");
        Send old = new Send().without("bname");
        old.version = 355;
        old.write("send-v2-355");
        Send last = new Send();
        last.opaque = 2147483647;
        last.write("send-v2-opaque-max");
        Send negative = new Send();
        negative.opaque = -2;
        negative.write("send-v2-opaque-negative");
        Send signed = new Send();
        signed.acl = true;
        signed.write("send-v2-acl");

        for (String[] each : new String[][] {{"", PROPERTIES}, {"-escapes", ESCAPES}}) {
            Send long1 = new Send().with("properties", each[1]);
            long1.code = SEND_MESSAGE;
            long1.write("send-v1" + each[0]);
        }
        Send v1 = new Send().without("bname").with("flag", -1).with("sysFlag", 1).body(zlib(40));
        v1.code = SEND_MESSAGE;
        v1.version = 355;
        v1.oneWay = true;
        v1.write("send-v1-355-oneway");
    }

    private static byte[] zlib(int size) {
        Deflater deflater = new Deflater(5);
        deflater.setInput("a".repeat(size).getBytes(StandardCharsets.US_ASCII));
        deflater.finish();
        byte[] out = new byte[100];
        int length = deflater.deflate(out);
        return Arrays.copyOf(out, length);
    }

    // batches

    private static Message item(int index, byte[] body, int flag, String... properties) {
        Message message = new Message("TopicTest", null, null, flag, body, true);
        for (int i = 0; i < properties.length; i += 2)
            message.putUserProperty(properties[i], properties[i + 1]);
        // As the client does at the start of a send.
        MessageAccessor.putProperty(message, "UNIQ_KEY", UNIQ_KEY.substring(0, 28)
                                    + String.format("%04X", index));
        return message;
    }

    private void batches() throws Exception {
        List<Message> two = List.of(item(0, Golden.utf8("m0"), 0), item(1, Golden.utf8("m1"), 0));
        batch("batch-1", SEND_BATCH_MESSAGE, List.of(item(0, Golden.utf8("only"), 0)), null);
        batch("batch-2", SEND_BATCH_MESSAGE, two, "broker-a");
        batch("batch-2-as-310", SEND_MESSAGE_V2, two, "broker-a");
        batch("batch-3-flags", SEND_BATCH_MESSAGE, List.of(
            item(0, Golden.utf8("a"), 7), item(1, Golden.utf8("bb"), -1),
            item(2, Golden.utf8("ccc"), 0)), "broker-a");
        batch("batch-3-properties", SEND_BATCH_MESSAGE, List.of(
            item(0, Golden.utf8("a"), 0, "color", "red"),
            item(1, Golden.utf8("b"), 0, "\u5730\u533a", "\u676d\u5dde", "rocket", "\uD83D\uDE80"),
            item(2, Golden.utf8("c"), 0, "quote", "\"\\\t")), "broker-a");
        List<Message> many = new ArrayList<>();
        for (int i = 0; i < 16; i++)
            many.add(item(i, Golden.pattern(1 + i * 13), 0));
        batch("batch-16", SEND_BATCH_MESSAGE, many, "broker-a");
        batch("batch-4-large", SEND_BATCH_MESSAGE, List.of(
            item(0, Golden.pattern(5000), 0), item(1, Golden.pattern(1), 0),
            item(2, Golden.pattern(255), 0), item(3, Golden.pattern(256), 0)), "broker-a");
    }

    private void batch(String name, int code, List<Message> items, String brokerName)
            throws Exception {
        Send send = new Send().with("batch", true).with("properties", properties(
            "WAIT", "true", "UNIQ_KEY", UNIQ_KEY));
        if (brokerName == null)
            send.without("bname");
        send.code = code;
        send.body = MessageDecoder.encodeMessages(items);
        List<String> notes = new ArrayList<>();
        notes.add("batch-count: " + items.size());
        for (int i = 0; i < items.size(); i++) {
            String text = MessageDecoder.messageProperties2String(items.get(i).getProperties());
            notes.add("item." + i + ".flag: " + items.get(i).getFlag());
            notes.add("item." + i + ".properties-hex: " + Golden.HEX.formatHex(Golden.utf8(text)));
            byte[] body = items.get(i).getBody();
            boolean isPattern = Arrays.equals(body, Golden.pattern(body.length));
            notes.add("item." + i + ".body: " + (isPattern ? "pattern:" + body.length
                                                           : Golden.HEX.formatHex(body)));
        }
        send.notes = notes;
        send.write(name);
    }

    // heartbeat, goodbye, asking for a route

    private void lifecycle() throws Exception {
        heartbeat("heartbeat", "PG_A");
        heartbeat("heartbeat-inner", "CLIENT_INNER_PRODUCER", "PG_A");
        heartbeat("heartbeat-none");
        heartbeat("heartbeat-utf8", "gr\u00fcn \"\uD83D\uDE80\"");

        command("unregister", UNREGISTER_CLIENT, 10, () -> golden.header(
            "UnregisterClientRequestHeader", "clientID", CLIENT_ID, "producerGroup", "PG_A"));
        command("route", GET_ROUTEINFO_BY_TOPIC, 1, () -> golden.header(
            "namesrv.GetRouteInfoRequestHeader", "topic", "TBW102"));
        command("route-standard-json", GET_ROUTEINFO_BY_TOPIC, 1, () -> golden.header(
            "namesrv.GetRouteInfoRequestHeader", "topic", "TopicTest",
            "acceptStandardJsonOnly", true));
    }

    private void heartbeat(String name, String... groups) throws Exception {
        Set<Object> producers = new LinkedHashSet<>();
        for (String group : groups)
            producers.add(golden.make("heartbeat.ProducerData", "groupName", group));
        Object data = golden.make("heartbeat.HeartbeatData", "clientID", CLIENT_ID,
                                  "producerDataSet", producers);
        byte[] body = ((RemotingSerializable) data).encode();
        golden.write(name, null, bodyText(body), () -> {
            RemotingCommand command = request(HEART_BEAT, golden.isVersion4()
                ? null : golden.header("HeartbeatRequestHeader"), version, 7);
            command.setBody(body);
            return command;
        });
    }

    private interface HeaderSource {
        CommandCustomHeader get() throws Exception;
    }

    private void command(String name, int code, int opaque, HeaderSource header) throws Exception {
        golden.write(name, null, NO_NOTES, () -> request(code, header.get(), version, opaque));
    }

    /** A readable copy of a text body, where it is ASCII. */
    private static List<String> bodyText(byte[] body) {
        for (byte b : body)
            if (b < 0x20 || b == 0x7f)
                return NO_NOTES;
        return List.of("body-text: " + new String(body, StandardCharsets.US_ASCII));
    }

    // transactions, and what brokers ask of a producer

    private void transactions() throws Exception {
        for (int commit : new int[] {8, 12}) {
            golden.write(commit == 8 ? "end-transaction-commit" : "end-transaction-rollback", null,
                         NO_NOTES, () -> {
                CommandCustomHeader header = golden.header("EndTransactionRequestHeader",
                    "producerGroup", "PG_A", "tranStateTableOffset", 3L, "commitLogOffset", 291L,
                    "commitOrRollback", commit, "fromTransactionCheck", commit == 12,
                    "msgId", UNIQ_KEY, "transactionId", UNIQ_KEY, "bname", "broker-a");
                if (!golden.isVersion4())
                    Golden.set(header, "topic", "TopicTest");
                RemotingCommand command = request(END_TRANSACTION, header, version, 11);
                command.markOnewayRPC();
                return command;
            });
        }
    }

    private void pushed() throws Exception {
        MessageExt stored = new MessageExt();
        stored.setTopic("TopicTest");
        stored.setBody(Golden.utf8("Hello"));
        stored.setBodyCRC(2010220930);
        stored.setQueueId(2);
        stored.setQueueOffset(55);
        stored.setCommitLogOffset(0x123);
        stored.setBornTimestamp(1700000000000L);
        stored.setStoreTimestamp(1700000000005L);
        stored.setBornHost(new InetSocketAddress("10.1.2.3", 40000));
        stored.setStoreHost(new InetSocketAddress("10.1.2.4", 10911));
        MessageDecoder.string2messageProperties(PROPERTIES)
            .forEach((key, value) -> MessageAccessor.putProperty(stored, key, value));
        byte[] record = MessageDecoder.encode(stored, false);

        golden.write("check-transaction-state", null, NO_NOTES, () -> {
            RemotingCommand command = request(CHECK_TRANSACTION_STATE, golden.header(
                "CheckTransactionStateRequestHeader", "tranStateTableOffset", 3L,
                "commitLogOffset", 291L, "msgId", UNIQ_KEY, "transactionId", UNIQ_KEY,
                "offsetMsgId", OFFSET_MSG_ID), version, 5);
            command.markOnewayRPC();
            command.setBody(record);
            return command;
        });
        golden.write("push-reply", null, NO_NOTES, () -> {
            RemotingCommand command = request(PUSH_REPLY_MESSAGE_TO_CLIENT, golden.header(
                "ReplyMessageRequestHeader", "producerGroup", "CG", "topic",
                "DefaultCluster_REPLY_TOPIC", "defaultTopic", "TBW102", "defaultTopicQueueNums", 4,
                "queueId", 0, "sysFlag", 0, "bornTimestamp", 1700000000000L, "flag", 0,
                "properties", properties("CORRELATION_ID", "c-1", "UNIQ_KEY", UNIQ_KEY),
                "reconsumeTimes", 0, "unitMode", false, "bornHost", "/10.1.2.3:40000",
                "storeHost", "/10.1.2.4:10911", "storeTimestamp", 1700000000005L), version, 6);
            command.setBody(Golden.utf8("answer"));
            return command;
        });
        command("notify-consumer-ids-changed", NOTIFY_CONSUMER_IDS_CHANGED, 4, () -> golden.header(
            "NotifyConsumerIdsChangedRequestHeader", "consumerGroup", "CG"));
    }

    // what comes back

    private void responses() throws Exception {
        response("response-send", 0, null, sent(OFFSET_MSG_ID, 2, 55L, UNIQ_KEY));
        response("response-send-no-transaction-id", 0, null, sent(OFFSET_MSG_ID, 0, 0L, null));
        response("response-send-large-offset", 0, null,
                 sent(OFFSET_MSG_ID, 1023, 9007199254740993L, UNIQ_KEY));
        response("response-send-batch", 0, null, sent(OFFSET_MSG_ID + ","
            + "0A01020400002A9F00000000000001CA," + "0A01020400002A9F0000000000000271", 2, 55L,
            UNIQ_KEY));
        response("response-flush-disk-timeout", 10, null, sent(OFFSET_MSG_ID, 2, 56L, UNIQ_KEY));
        response("response-slave-not-available", 11, null, sent(OFFSET_MSG_ID, 2, 57L, UNIQ_KEY));
        response("response-flush-slave-timeout", 12, null, sent(OFFSET_MSG_ID, 2, 58L, UNIQ_KEY));
        response("response-system-error", 1, "UNKNOWN_ERROR DEFAULT", null);
        response("response-system-busy", 2, "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control "
                 + "for a while, period in queue: 201ms, size of queue: 1077", null);
        response("response-not-supported", 3, " request type 9999 not supported", null);
        response("response-message-illegal", 13, "the message is illegal, maybe msg body or "
                 + "properties length not matched. msg body length limit 4194304B, msg properties "
                 + "length limit 32KB.", null);
        response("response-service-not-available", 14, "service not available now. It may be "
                 + "caused by one of the following reasons: the broker's disk is full [CL:  0.95 "
                 + "CQ:  0.95 INDEX:  0.95], messages are put to the slave, message store has been "
                 + "shut down, etc.", null);
        response("response-no-permission", 16, "the broker[10.1.2.4] sending message is forbidden",
                 null);
        response("response-topic-not-exist", 17, "topic[TopicTest] not exist, apply first please!\n"
                 + "See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.",
                 null);
        response("response-invalid-parameter", 29, "request queueId[8] is illegal, topicConfig "
                 + "[topicName=TopicTest, readQueueNums=4] Producer: /10.1.2.3:40000", null);
        response("response-go-away", 1500, null, null);
        response("response-remark-utf8", 1,
                 "\u9519\u8bef \"x\" \\ \t\n \uD83D\uDE80 a/b", null);
        response("response-remark-empty", 1, "", null);
        response("response-bare", 0, null, null);
        golden.write("response-heartbeat", null, NO_NOTES, () -> {
            RemotingCommand command = answer(0, null, null);
            command.addExtField("IS_SUPPORT_HEART_BEAT_V2", "true");
            command.addExtField("IS_SUB_CHANGE", "false");
            return command;
        });
        if (!golden.isVersion4())
            response("response-send-recall", 0, null, new HeaderFields("SendMessageResponseHeader",
                "msgId", OFFSET_MSG_ID, "queueId", 2, "queueOffset", 55L, "transactionId", UNIQ_KEY,
                "recallHandle", "djEgVG9waWNUZXN0IGJyb2tlci1hIDE3MDAwMDAwMDEwMDAgMEEwMTAyMDMxMDky"
                + "MTIzNEFCQ0QwMDAwMDAwMTAwMDA="));
    }

    private record HeaderFields(String name, Object... fields) {
    }

    private static HeaderFields sent(String msgId, int queueId, long queueOffset,
                                     String transactionId) {
        return new HeaderFields("SendMessageResponseHeader", "msgId", msgId, "queueId", queueId,
                                "queueOffset", queueOffset, "transactionId", transactionId);
    }

    private RemotingCommand answer(int code, String remark, CommandCustomHeader header)
            throws Exception {
        RemotingCommand command = RemotingCommand.createResponseCommand(code, remark);
        if (header != null)
            Golden.set(command, "customHeader", header);
        command.setVersion(version);
        command.setOpaque(9);
        command.markResponseType();
        return command;
    }

    private void response(String name, int code, String remark, HeaderFields header)
            throws Exception {
        golden.write(name, null, NO_NOTES, () -> {
            RemotingCommand command = answer(code, remark, header == null
                ? null : golden.header(header.name, header.fields));
            if (header != null) {   // the broker adds these to every answer of a send
                command.addExtField("MSG_REGION", "DefaultRegion");
                command.addExtField("TRACE_ON", "true");
            }
            return command;
        });
    }

    // routes

    private void routes() throws Exception {
        route("one-broker", routeData(null, broker("broker-a", 0L, "127.0.0.1:10911")),
              queue("broker-a", 4, 4, 6));
        route("master-and-slave", routeData(null,
              broker("broker-a", 0L, "10.1.2.4:10911", 1L, "10.1.2.5:10911", 2L, "10.1.2.6:10911"),
              broker("broker-b", 0L, "10.1.2.7:10911")),
              queue("broker-a", 8, 8, 6), queue("broker-b", 16, 8, 6));
        route("only-slave", routeData(null, broker("broker-a", 1L, "10.1.2.5:10911"),
              broker("broker-b", 0L, "10.1.2.7:10911")),
              queue("broker-a", 4, 4, 6), queue("broker-b", 4, 4, 4));
        route("no-queues", routeData(null, broker("broker-a", 0L, "127.0.0.1:10911")));
        route("queue-without-broker", routeData(null, broker("broker-a", 0L, "127.0.0.1:10911")),
              queue("broker-a", 4, 4, 6), queue("broker-gone", 4, 4, 6));
        route("order-conf", routeData("broker-a:4;broker-b:8",
              broker("broker-a", 0L, "10.1.2.4:10911")),
              queue("broker-a", 4, 4, 7));
        route("ipv6-utf8", routeData(null,
              broker("br\u00f6ker/\u4e00 \"x\"", 0L, "[2001:db8::1]:10911", 1L, "2001:db8::2:10911",
                     -1L, "10.1.2.4:10911")),
              queue("br\u00f6ker/\u4e00 \"x\"", 4, 4, 6));
    }

    private Object broker(String name, Object... idsAndAddresses) throws Exception {
        HashMap<Long, String> addresses = new HashMap<>();
        for (int i = 0; i < idsAndAddresses.length; i += 2)
            addresses.put((Long) idsAndAddresses[i], (String) idsAndAddresses[i + 1]);
        return golden.make("route.BrokerData", "cluster", "DefaultCluster", "brokerName", name,
                           "brokerAddrs", addresses);
    }

    private Object queue(String broker, int read, int write, int perm) throws Exception {
        return golden.make("route.QueueData", "brokerName", broker, "readQueueNums", read,
                           "writeQueueNums", write, "perm", perm, "topicSysFlag", 0);
    }

    private Object routeData(String orderConf, Object... brokers) throws Exception {
        Object route = golden.make("route.TopicRouteData", "brokerDatas",
                                   new ArrayList<>(List.of(brokers)),
                                   "filterServerTable", new HashMap<>());
        if (orderConf != null)
            Golden.set(route, "orderTopicConf", orderConf);
        return route;
    }

    /** The answer as the nameserver gives it to old clients (bare keys) and to new (standard). */
    private void route(String name, Object route, Object... queues) throws Exception {
        Golden.set(route, "queueDatas", new ArrayList<>(List.of(queues)));
        RemotingSerializable data = (RemotingSerializable) route;
        byte[] bare = data.encode();
        byte[] standard = data.encode(SerializerFeature.BrowserCompatible,
            SerializerFeature.QuoteFieldNames, SerializerFeature.SkipTransientField,
            SerializerFeature.MapSortField);
        routeAnswer("response-route-bare-" + name, bare);
        routeAnswer("response-route-standard-" + name, standard);
    }

    private void routeAnswer(String name, byte[] body) throws Exception {
        golden.write(name, null, bodyText(body), () -> {
            RemotingCommand command = answer(0, null, null);
            command.setBody(body);
            return command;
        });
    }
}
