import java.util.Set;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * Topics, through RocketMQ's own admin client.
 *
 * <pre>
 * Admin create --nameserver a:1 --topic t --queues 4 [--perm 6] --broker host:port
 * Admin route  --nameserver a:1 --topic t
 * Admin delete --nameserver a:1;b:2 --topic t --brokers host:port,host:port
 * </pre>
 */
public final class Admin {
    private Admin() {
    }

    public static void main(String[] args) throws Exception {
        Options options = new Options(args, 1);
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(options.text("nameserver"));
        admin.setInstanceName("admin-" + ProcessHandle.current().pid());
        admin.setVipChannelEnabled(false);
        admin.start();
        String topic = options.text("topic");
        switch (args[0]) {
        case "create":
            int queues = options.number("queues", 4);
            admin.createAndUpdateTopicConfig(options.text("broker"), new TopicConfig(
                topic, queues, queues, options.number("perm", 6)));
            break;
        case "route":
            System.out.println(admin.examineTopicRouteInfo(topic).toJson());
            break;
        case "delete":
            admin.deleteTopicInBroker(Set.of(options.text("brokers").split(",")), topic);
            deleteInNameservers(admin, Set.of(options.text("nameserver").split(";")), topic);
            break;
        default:
            throw new IllegalArgumentException("create, route or delete, not " + args[0]);
        }
        System.exit(0);
    }

    /** 4.x has (addresses, topic, cluster); 5.x has (addresses, topic) as well. */
    private static void deleteInNameservers(DefaultMQAdminExt admin, Set<String> addresses,
                                            String topic) throws ReflectiveOperationException {
        try {
            DefaultMQAdminExt.class.getMethod("deleteTopicInNameServer", Set.class, String.class)
                .invoke(admin, addresses, topic);
        } catch (NoSuchMethodException e) {
            DefaultMQAdminExt.class.getMethod("deleteTopicInNameServer", Set.class, String.class,
                                              String.class).invoke(admin, addresses, topic, null);
        }
    }
}
